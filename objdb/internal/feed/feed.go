// Package feed is the watcher that drivers share: it takes batches from a driver as fast as they come and hands them
// to a consumer as slowly as it reads, merging what piles up to the latest value per key.
package feed

import (
	"context"
	"strings"
	"sync"

	"github.com/contiv/contiv/objdb"
)

// Feed implements objdb.Watcher. Memory is bounded by the number of distinct keys below its prefix that changed since
// the consumer last read.
type Feed struct {
	prefix string
	out    chan objdb.Batch
	news   chan struct{} // holds a token while came has something

	mu   sync.Mutex
	came pile // pushed, not yet taken by the pump
	err  error
}

// New makes a feed of the keys below the prefix. It delivers nothing before Run.
func New(prefix string) *Feed {
	return &Feed{prefix: prefix, out: make(chan objdb.Batch), news: make(chan struct{}, 1)}
}

// Batches implements objdb.Watcher.
func (f *Feed) Batches() <-chan objdb.Batch { return f.out }

// Err implements objdb.Watcher.
func (f *Feed) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Run delivers what the source pushes until the context ends or the source returns, whose error then becomes Err; an
// ended context becomes the context's error. Pushed batches come in increasing revision, each whole revisions of
// any keys, also of those outside the prefix. push never waits for the consumer. Run returns when the source has.
func (f *Feed) Run(ctx context.Context, source func(ctx context.Context, push func(objdb.Batch)) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- source(ctx, f.push) }()
	err, returned := f.pump(ctx, ended)
	cancel()
	if !returned {
		<-ended
	}
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	close(f.out)
}

func (f *Feed) push(b objdb.Batch) {
	f.mu.Lock()
	f.came.add(f.prefix, b)
	f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// take moves what came to what waits to be read.
func (f *Feed) take(waiting *pile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.came.any:
	case !waiting.any:
		*waiting, f.came = f.came, pile{}
	default:
		waiting.add(f.prefix, f.came.batch)
		f.came = pile{}
	}
}

// pump returns why the feed ended and whether the source is known to have returned.
func (f *Feed) pump(ctx context.Context, ended <-chan error) (error, bool) {
	var waiting pile
	for {
		var out chan objdb.Batch
		if waiting.any {
			out = f.out
		}
		select {
		case <-f.news:
			f.take(&waiting)
		case out <- waiting.batch:
			waiting = pile{}
		case err := <-ended:
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return err, true
		case <-ctx.Done():
			return ctx.Err(), false
		}
	}
}

// pile merges batches. Invariant: at[k] is the index in batch.Events of the one event of key k, unless at is nil: then
// no key is there twice.
type pile struct {
	any   bool
	batch objdb.Batch
	at    map[string]int
}

func (p *pile) add(prefix string, b objdb.Batch) {
	if !p.any && isOneRevision(b) {
		p.any, p.batch.Revision = true, b.Revision
		p.batch.Events = make([]objdb.Event, 0, len(b.Events))
		for _, event := range b.Events {
			if strings.HasPrefix(event.Key, prefix) && !objdb.IsReserved(event.Key) {
				p.batch.Events = append(p.batch.Events, event)
			}
		}
		return
	}
	if p.at == nil {
		p.at = make(map[string]int, len(p.batch.Events)+len(b.Events))
		for i, event := range p.batch.Events {
			p.at[event.Key] = i
		}
	}
	p.any = true
	p.batch.Revision = b.Revision
	for _, event := range b.Events {
		if !strings.HasPrefix(event.Key, prefix) || objdb.IsReserved(event.Key) {
			continue
		}
		if i, ok := p.at[event.Key]; ok {
			p.batch.Events[i] = event
			continue
		}
		p.at[event.Key] = len(p.batch.Events)
		p.batch.Events = append(p.batch.Events, event)
	}
}

// isOneRevision tells whether all events are of one transaction, in which no key is twice.
func isOneRevision(b objdb.Batch) bool {
	return len(b.Events) == 0 || b.Events[0].Revision == b.Events[len(b.Events)-1].Revision
}
