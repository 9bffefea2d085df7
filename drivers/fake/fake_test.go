package fake_test

import (
	"context"
	"errors"
	"testing"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/drivers/fake"
	"github.com/contiv/contiv/ofnet/protocol"
)

var (
	id  = protocol.EndpointID{Host: "h", ContainerID: "c", IfName: "eth0"}
	net = drivers.Ref{Kind: protocol.KindNetwork, Key: "t:n"}
)

func TestPortsAreRemembered(t *testing.T) {
	memory := &fake.Memory{}
	d := fake.New(fake.Options{Memory: memory})
	want := drivers.Port{ID: id, NetNS: "/run/netns/x", MTU: 1450}
	att, err := d.PreparePort(t.Context(), want)
	if err != nil || att.ContainerLink != "eth0" || att.HostLink == "" {
		t.Fatalf("%v, %v", att, err)
	}
	_ = d.Close()
	if _, err := d.Attachments(t.Context()); !errors.Is(err, fake.ErrClosed) {
		t.Errorf("closed: %v", err)
	}

	d = fake.New(fake.Options{Memory: memory})
	if list, err := d.Attachments(t.Context()); err != nil || len(list) != 1 || list[0].ID != id || list[0].MTU != 1450 {
		t.Errorf("attachments %v, %v", list, err)
	}
	for range 2 {
		if err := d.RemovePort(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if gone, err := d.Removed(t.Context()); err != nil || len(gone) != 1 || gone[0] != id {
		t.Errorf("removed %v, %v", gone, err)
	}
	if err := d.Forget(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if gone, _ := d.Removed(t.Context()); len(gone) != 0 {
		t.Errorf("removed %v", gone)
	}
}

func TestApply(t *testing.T) {
	broken := errors.New("broken")
	var fail error
	d := fake.New(fake.Options{
		Before: func(_ context.Context, method string) error {
			if method == "Apply" {
				return fail
			}
			return nil
		},
		Refuse: func(ref drivers.Ref, _ protocol.Body) string {
			if ref.Key == "t:bad" {
				return "it is bad"
			}
			return ""
		},
	})
	at := func(revision int64) protocol.Position { return protocol.Position{Store: "s", Revision: revision} }
	body := map[drivers.Ref]protocol.Body{net: &protocol.Network{Name: "n"}, {Kind: protocol.KindNetwork, Key: "t:bad"}: &protocol.Network{Name: "bad"}}
	not, err := d.Apply(t.Context(), drivers.Update{Position: at(1), Replace: true, Set: body})
	if err != nil || len(not) != 1 || not[0].Key != "t:bad" || d.Status().Realised != at(1) {
		t.Fatalf("%v, %v, %+v", not, err, d.Status())
	}
	fail = broken
	if _, err := d.Apply(t.Context(), drivers.Update{Position: at(2), Gone: []drivers.Ref{net}}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if s := d.Status(); s.Desired != at(2) || s.Realised != at(1) || s.Problem == "" {
		t.Errorf("%+v", s)
	}
	if len(d.Desired()) != 1 || d.Applies() != 2 {
		t.Errorf("desired %v after %d", d.Desired(), d.Applies())
	}
}
