package endpointlock

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/contiv/contiv/ofnet/protocol"
)

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	var (
		locks Set
		wg    sync.WaitGroup
	)
	count := map[string]*int{"a": new(int), "b": new(int)}
	for container, n := range count {
		for range 50 {
			wg.Go(func() {
				release, err := locks.Acquire(t.Context(), protocol.EndpointID{ContainerID: container})
				if err != nil {
					t.Error(err)
					return
				}
				defer release()
				*n++ // the race detector objects if two are here
			})
		}
	}
	wg.Wait()
	if *count["a"] != 50 || *count["b"] != 50 || len(locks.all) != 0 {
		t.Errorf("a %d, b %d, locks left %d", *count["a"], *count["b"], len(locks.all))
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	var locks Set
	id := protocol.EndpointID{Host: "h", ContainerID: "c", IfName: "eth0"}
	release, err := locks.Acquire(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := locks.Acquire(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("second: %v", err)
	}
	release()
	release, err = locks.Acquire(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	release()
	if len(locks.all) != 0 {
		t.Errorf("locks left: %d", len(locks.all))
	}
}
