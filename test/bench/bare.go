package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/embedded"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
	"github.com/sirupsen/logrus"
)

// shape is what one request of a kind writes: how many compares, and the length of each value.
type shape struct {
	Compares int   `json:"compares"`
	Values   []int `json:"values"`
}

// recorder remembers the last transaction.
type recorder struct {
	objdb.Store
	last objdb.Txn
}

func (r *recorder) Commit(ctx context.Context, txn objdb.Txn) (int64, error) {
	r.last = txn
	return r.Store.Commit(ctx, txn)
}

func (r *recorder) shape() shape {
	s := shape{Compares: len(r.last.If)}
	for _, op := range r.last.Then {
		s.Values = append(s.Values, len(op.Value))
	}
	return s
}

// shapeOf runs a request once on a store in memory and tells what it wrote.
func shapeOf(ctx context.Context, kind request) (shape, error) {
	w, err := newWorkshop(ctx)
	if err != nil {
		return shape{}, err
	}
	defer w.close()
	if _, err = w.RegisterHost(ctx, &protocol.RegisterRequest{Host: "host1", MTU: 1500}); err == nil {
		_, err = w.CreateNetwork(ctx, &state.Network{TenantName: "default", NetworkName: "n", Encap: "vxlan", Subnet: "10.0.0.0/12"})
	}
	if err == nil {
		err = kind.shape(ctx, w)
	}
	if err != nil {
		return shape{}, fmt.Errorf("recording the shape of %s: %w", kind.name, err)
	}
	return w.store.shape(), nil
}

// serveBare is the denominator of P6: a bare net/http handler that does one fenced transaction of a shape per
// request, on an embedded store of its own. It prints its address and serves until its input is closed.
func serveBare(ctx context.Context, shapeText, dir string) error {
	var s shape
	if err := json.Unmarshal([]byte(shapeText), &s); err != nil {
		return fmt.Errorf("reading the shape: %w", err)
	}
	store, err := embedded.Open(ctx, embedded.Config{Dir: dir, Log: silent()})
	if err != nil {
		return fmt.Errorf("opening the bare store: %w", err)
	}
	defer store.Close() //nolint:errcheck // the process ends
	fence, err := store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("fence", nil)}})
	if err != nil {
		return fmt.Errorf("writing the fence: %w", err)
	}
	var number atomic.Int64
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // what a client sends is not looked at
		if _, err := store.Commit(r.Context(), s.txn(fence, number.Add(1))); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // closed when the benchmark is done with us
		_ = server.Close()
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// txn has the fence, the other compares on keys that must not exist, and values of the right length.
func (s shape) txn(fence, number int64) objdb.Txn {
	txn := objdb.Txn{If: []objdb.Compare{objdb.Unchanged("fence", fence)}}
	for i := 1; i < s.Compares; i++ {
		txn.If = append(txn.If, objdb.Absent(fmt.Sprintf("bare/absent/%d/%d", i, number)))
	}
	for i, length := range s.Values {
		txn.Then = append(txn.Then, objdb.Put(fmt.Sprintf("bare/value/%d/%d", i, number), []byte(strings.Repeat("x", length))))
	}
	return txn
}

func silent() *logrus.Entry {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return logrus.NewEntry(log)
}
