package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tmaxmax/go-sse"
)

// EventType is what an Event tells.
type EventType string

// Types of events. A stream that does not resume begins with a reset, a put of every object there is, and synced; a
// reset may also come later, if the reader is too slow. Other types may come in later versions and are to be ignored.
const (
	EventPut    EventType = "put"    // the object is new, or has changed
	EventDelete EventType = "delete" // it is gone, or is no longer what was asked for
	EventReset  EventType = "reset"  // forget everything; what there is follows
	EventSynced EventType = "synced" // everything there is has been told
	EventAlive  EventType = "alive"  // nothing happened up to Resume; now and then, on quiet streams
)

// Change is the wire form of an event: the data of put and delete has all of it, that of reset and synced the revision.
type Change[T any] struct {
	Kind string `json:"kind,omitempty"` // "network"
	Key  string `json:"key,omitempty"`
	// Object as GET shows it, nil if it was deleted. Its links are as they were when the event was made; that other
	// objects link to it is no event.
	Object *T `json:"object,omitempty"`
	// Revision in which the object was written or deleted, or that of the whole.
	Revision int64 `json:"revision"`
}

// Event is a change that a watch tells.
type Event[T any] struct {
	Type EventType
	Change[T]
	// Resume is the revision to go on from with WatchOptions.Since if the stream ends after this event; 0 as long as
	// there is none.
	Resume int64
}

// WatchOptions say what to watch. The zero value is everything, beginning with what there is.
type WatchOptions struct {
	// Since is the revision after which to begin, such as Event.Resume; 0: with what there is. If netmaster no longer
	// knows what came after it, the stream begins with a reset.
	Since int64
	// Where has the values that fields of the objects must have, such as {"tenantName": "blue"}. An object that no longer
	// has them is told as deleted.
	Where map[string]string
	// Collections to watch, for Client.Watch: "networks", ...; none: all.
	Collections []string
}

// maxEvent bounds an event: a tenant with the links to all its objects is one.
const maxEvent = 64 << 20

// Watch tells the changes of one type of object until the context or the loop ends, or the stream fails; then it yields
// the error, which is io.ErrUnexpectedEOF if netmaster ended it. It does not begin again by itself.
func (l Collection[T, O]) Watch(ctx context.Context, opts WatchOptions) iter.Seq2[Event[T], error] {
	query := opts.query()
	query.Set("watch", "true")
	return watch[T](ctx, l.client, "/api/v1/"+l.name+"/", query, opts.Since)
}

// Watch tells the changes of all objects, as Collection.Watch those of one type.
func (c *Client) Watch(ctx context.Context, opts WatchOptions) iter.Seq2[Event[json.RawMessage], error] {
	query := opts.query()
	if len(opts.Collections) > 0 {
		query.Set("collection", strings.Join(opts.Collections, ","))
	}
	return watch[json.RawMessage](ctx, c, "/api/v1/watch", query, opts.Since)
}

func (o WatchOptions) query() url.Values {
	query := url.Values{}
	for name, value := range o.Where {
		query.Set(name, value)
	}
	if o.Since > 0 {
		query.Set("since", strconv.FormatInt(o.Since, 10))
	}
	return query
}

func watch[T any](ctx context.Context, c *Client, path string, query url.Values, since int64) iter.Seq2[Event[T], error] {
	return func(yield func(Event[T], error) bool) {
		resp, err := c.send(ctx, request{method: http.MethodGet, path: path + "?" + query.Encode()})
		if err != nil {
			yield(Event[T]{}, err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		for raw, err := range sse.Read(resp.Body, &sse.ReadConfig{MaxEventSize: maxEvent}) {
			if err != nil {
				yield(Event[T]{}, fmt.Errorf("watching: %w", err))
				return
			}
			if id, err := strconv.ParseInt(raw.LastEventID, 10, 64); err == nil {
				since = id
			}
			event := Event[T]{Type: EventType(raw.Type), Resume: since}
			if raw.Type == "" {
				event.Type, raw.Data = EventAlive, "{}" // it has an id only
			}
			if err := json.Unmarshal([]byte(raw.Data), &event.Change); err != nil {
				yield(Event[T]{}, fmt.Errorf("watching: reading the event %q: %w", raw.Type, err))
				return
			}
			if !yield(event, nil) {
				return
			}
		}
		if err = ctx.Err(); err == nil {
			err = io.ErrUnexpectedEOF
		}
		yield(Event[T]{}, fmt.Errorf("watching: the stream ended: %w", err))
	}
}
