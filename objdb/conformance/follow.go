package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/contiv/contiv/objdb"
)

// mirror is a receiver that keeps a copy.
type mirror struct {
	mu       sync.Mutex
	keys     map[string]string
	revision int64
	resets   int
	bad      error
}

func (m *mirror) Reset(kvs []objdb.KV, revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = make(map[string]string)
	for _, kv := range kvs {
		m.keys[kv.Key] = string(kv.Value)
	}
	m.resets++
	m.advance(revision)
}

func (m *mirror) Apply(b objdb.Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range b.Events {
		if e.Deleted {
			delete(m.keys, e.Key)
		} else {
			m.keys[e.Key] = string(e.Value)
		}
	}
	m.advance(b.Revision)
}

func (m *mirror) advance(revision int64) {
	if revision < m.revision {
		m.bad = fmt.Errorf("revision %d after %d", revision, m.revision)
	}
	m.revision = revision
}

func (m *mirror) at(revision int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revision >= revision
}

func testFollow(t *testing.T, h Harness) {
	t.Helper()
	ctx, s, writer := testContext(t), h.Open(t), h.Open(t)
	commit(ctx, t, writer, put("a/old", "1"), put("b", "1"))
	m := &mirror{}
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- objdb.Follow(running, s, "a/", m) }()
	last := commit(ctx, t, writer, put("a/new", "1"), objdb.Delete("a/old"))
	eventually(ctx, t, "following a change", func() bool { return m.at(last) })

	if h.Stop != nil {
		h.Stop(t)
		h.Start(t)
		h.Compact(t)
		eventually(ctx, t, "a commit after the store came back", func() bool {
			revision, err := writer.Commit(ctx, objdb.Txn{Then: []objdb.Op{put("a/more", "1")}})
			last = revision
			return err == nil
		})
		eventually(ctx, t, "following after a restart", func() bool { return m.at(last) })
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("follow returned %v", err)
	}
	want := make(map[string]string)
	kvs, _, err := s.List(ctx, "a/")
	if err != nil || m.bad != nil {
		t.Fatal(err, m.bad)
	}
	for _, kv := range kvs {
		want[kv.Key] = string(kv.Value)
	}
	if !maps.Equal(m.keys, want) {
		t.Errorf("mirror has %v, store has %v", m.keys, want)
	}
}
