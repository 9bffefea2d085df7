package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

const (
	defaultHeartbeat = 15 * time.Second
	// streamPatience is how long a client may leave its connection full. Then it is cut off; it may resume.
	streamPatience = 20 * time.Second
	// streamStep is how many changes are told before the history is asked for more.
	streamStep = 256
	// streamBuffer is about how many bytes are written at once.
	streamBuffer = 64 << 10
)

// stream is the answer to a watch: Server-Sent Events. It holds its place in the history and nothing that grows.
type stream struct {
	server   *server
	of       []watched
	position int64        // number of the next change in the history
	anew     bool         // it begins with what there is
	present  []*happening // that
	revision int64        // and its revision
}

// streams is the handler with an end for its streams.
type streams struct {
	http.Handler
	end func()
}

// EndStreams ends all streams under way and to come. The other requests go on.
func (s streams) EndStreams() { s.end() }

// withStreams begins to keep what streams tell.
func (s *server) withStreams(next http.Handler) http.Handler {
	cancel := s.Reader.Subscribe(func(_ *ledger.Model, change ledger.Change) { s.history.note(change, s.encode) })
	return streams{next, sync.OnceFunc(func() {
		close(s.ending)
		cancel()
	})}
}

// begin notes what there is, to be told first, and the place in the history that it stands for.
func (st *stream) begin(m *ledger.Model) {
	st.anew, st.present = true, nil
	st.position, st.revision = st.server.history.end()
	for _, w := range st.of {
		w.each(m, w.query, func(key string, record state.Record, revision int64) bool {
			if w.one(m, key) != nil {
				st.present = append(st.present, &happening{collection: w.collection, key: key, revision: revision, new: record})
			}
			return true
		})
	}
}

// encode makes the event of an object as it was after a change, with the links that it has now.
func (s *server) encode(h *happening) []byte {
	var shown any
	s.Reader.ViewCached(func(m *ledger.Model) {
		shown = h.collection.show(m, h.new)
		if m.RevisionOf(h.new.StoreKey()) != h.revision {
			shown = stamped(shown, strconv.FormatInt(h.revision, 10))
		}
	})
	return eventData(client.Change[any]{Kind: h.collection.kind, Key: h.key, Object: &shown, Revision: h.revision})
}

// stamped is an object with another version than that which the model has now.
func stamped(shown any, version string) any {
	out := reflect.New(reflect.TypeOf(shown)).Elem()
	out.Set(reflect.ValueOf(shown))
	out.FieldByName("ResourceVersion").SetString(version)
	return out.Interface()
}

func eventData(change client.Change[any]) []byte {
	data, err := json.Marshal(change)
	if err != nil {
		return []byte("{}") // cannot be: it has been shown by GET
	}
	return data
}

// serve tells what there is, if the stream does not resume, then every change, until the client goes or netmaster stops.
// A change of leaders does not end it: every netmaster knows all changes.
func (st *stream) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // for proxies
	if r.Method == http.MethodHead {
		return
	}
	out := &eventWriter{control: http.NewResponseController(w), to: w}
	if out.begin() == nil {
		_ = st.tell(out, r) // its end is the connection's, of which there is nothing to say to anybody
	}
}

func (st *stream) tell(out *eventWriter, r *http.Request) error {
	s := st.server
	heartbeat := time.NewTicker(cmp.Or(s.Heartbeat, defaultHeartbeat))
	defer heartbeat.Stop()
	for {
		select {
		case <-r.Context().Done():
			return r.Context().Err()
		case <-s.ending:
			return out.comment("netmaster is stopping")
		default:
		}
		if st.anew {
			if err := st.tellPresent(out); err != nil {
				return err
			}
		}
		found, revision, arrived, ok := s.history.read(st.position, streamStep)
		if !ok { // too slow
			s.Reader.ViewCached(st.begin)
			continue
		}
		if len(found) > 0 {
			if err := st.tellChanges(out, found); err != nil {
				return err
			}
			continue
		}
		select {
		case <-arrived:
		case <-heartbeat.C:
			if err := out.alive(revision); err != nil {
				return err
			}
		case <-s.ending:
		case <-r.Context().Done():
		}
	}
}

// tellPresent tells everything there is. Only its end has an id: who has not come so far has to begin again.
func (st *stream) tellPresent(out *eventWriter) error {
	whole := eventData(client.Change[any]{Revision: st.revision})
	if err := out.event(client.EventReset, 0, whole); err != nil {
		return err
	}
	for _, h := range st.present {
		if err := out.event(client.EventPut, 0, st.server.encode(h)); err != nil {
			return err
		}
	}
	st.anew, st.present = false, nil
	if err := out.event(client.EventSynced, st.revision, whole); err != nil {
		return err
	}
	return out.flush()
}

func (st *stream) tellChanges(out *eventWriter, found []*happening) error {
	for _, h := range found {
		st.position++
		id := int64(0)
		if h.last { // else there is more of this revision to come
			id = h.upTo
		}
		was, is := st.wants(h)
		var err error
		switch {
		case is:
			err = out.event(client.EventPut, id, h.encode())
		case was:
			err = out.event(client.EventDelete, id, eventData(client.Change[any]{Kind: h.collection.kind, Key: h.key, Revision: h.revision}))
		}
		if err != nil {
			return err
		}
	}
	return out.flush()
}

// wants tells whether the object was one that is watched before a change, and is one after it.
func (st *stream) wants(h *happening) (was, is bool) {
	for _, w := range st.of {
		if w.collection.prefix == h.collection.prefix {
			was = h.old != nil && w.filter.match(h.old)
			is = h.new != nil && w.filter.match(h.new)
		}
	}
	return was, is
}

// eventWriter writes Server-Sent Events.
type eventWriter struct {
	control *http.ResponseController
	to      http.ResponseWriter
	buffer  bytes.Buffer
}

// begin lifts the limits that the connection has for ordinary requests, and lets the client know that it is heard.
func (e *eventWriter) begin() error {
	if err := e.control.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("lifting the limit of the connection: %w", err)
	}
	return e.comment("watching")
}

// event adds an event, with an id unless that is 0. The data must be one line.
func (e *eventWriter) event(kind client.EventType, id int64, data []byte) error {
	fmt.Fprintf(&e.buffer, "event: %s\n", kind)
	if id != 0 {
		fmt.Fprintf(&e.buffer, "id: %d\n", id)
	}
	fmt.Fprintf(&e.buffer, "data: %s\n\n", data)
	if e.buffer.Len() < streamBuffer {
		return nil
	}
	return e.flush()
}

// alive shows that nothing happened up to a revision.
func (e *eventWriter) alive(revision int64) error {
	fmt.Fprintf(&e.buffer, ": alive\nid: %d\n\n", revision)
	return e.flush()
}

func (e *eventWriter) comment(text string) error {
	fmt.Fprintf(&e.buffer, ": %s\n\n", text)
	return e.flush()
}

func (e *eventWriter) flush() error {
	if e.buffer.Len() == 0 {
		return nil
	}
	if err := e.control.SetWriteDeadline(time.Now().Add(streamPatience)); err != nil {
		return fmt.Errorf("limiting the time to write: %w", err)
	}
	_, err := e.to.Write(e.buffer.Bytes())
	e.buffer.Reset()
	if err == nil {
		err = e.control.Flush()
	}
	if err != nil {
		return fmt.Errorf("writing to a client that watches: %w", err)
	}
	return nil
}
