package switchdb_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/drivers/ovs/switchdb"
	"github.com/contiv/contiv/ofnet/openflow/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dial(t *testing.T, o *ovstest.OVS, bridge string) *switchdb.DB {
	t.Helper()
	db, err := switchdb.Dial(t.Context(), o.DB(), bridge, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func TestSwitchDB(t *testing.T) {
	o := ovstest.Start(t)
	t.Run("bridge", func(t *testing.T) { testBridge(t, o) })
	t.Run("notes", func(t *testing.T) { testNotes(t, o) })
	t.Run("ports", func(t *testing.T) { testPorts(t, o) })
}

func testBridge(t *testing.T, o *ovstest.OVS) {
	t.Helper()
	db := dial(t, o, "contivTest")
	if _, err := db.Bridge(t.Context()); !errors.Is(err, switchdb.ErrNoBridge) {
		t.Errorf("no bridge: %v", err)
	}
	if err := db.SetNotes(t.Context(), map[string]string{"a": "b"}); err == nil {
		t.Error("a note was written on no bridge")
	}
	spec := switchdb.BridgeSpec{DatapathType: "netdev", Protocols: []string{"OpenFlow10", "OpenFlow13"}}
	first, err := db.EnsureBridge(t.Context(), spec)
	if err != nil || first.DatapathType != "netdev" {
		t.Fatalf("%+v, %v", first, err)
	}
	o.Vsctl("set-fail-mode", "contivTest", "standalone")
	again, err := db.EnsureBridge(t.Context(), spec)
	if err != nil || again.UUID != first.UUID {
		t.Errorf("again: %+v, %v", again, err)
	}
	if mode := strings.TrimSpace(o.Vsctl("get-fail-mode", "contivTest")); mode != "secure" {
		t.Errorf("fail mode %q", mode)
	}
	spec.DatapathType = "system"
	var wrong *switchdb.WrongDatapathError
	if _, err := db.EnsureBridge(t.Context(), spec); !errors.As(err, &wrong) || wrong.Has != "netdev" {
		t.Errorf("another type: %v", err)
	}
}

func testNotes(t *testing.T, o *ovstest.OVS) {
	t.Helper()
	db := dial(t, o, o.Bridge)
	o.Vsctl("br-set-external-id", o.Bridge, "foreign", "stays")
	for _, value := range []string{"1", `with "quotes", commas=and spaces / ü`} {
		if err := db.SetNotes(t.Context(), map[string]string{"a/b": value, "c": "d"}, "c"); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"a/b": value, "c": "d", "foreign": "stays"}
		if notes, err := db.Notes(t.Context()); err != nil || !cmp.Equal(want, notes) {
			t.Errorf("%v, %s", err, cmp.Diff(want, notes))
		}
	}
	if err := db.SetNotes(t.Context(), nil, "a/b", "c", "never there"); err != nil {
		t.Fatal(err)
	}
	if notes, err := db.Notes(t.Context()); err != nil || len(notes) != 1 {
		t.Errorf("%v, %v", notes, err)
	}
}

func testPorts(t *testing.T, o *ovstest.OVS) {
	t.Helper()
	db := dial(t, o, o.Bridge)
	port := switchdb.Port{Name: "p1", Type: "internal", Request: 77, ExternalIDs: map[string]string{"k": "v"}}
	number, err := db.AddPort(t.Context(), port, map[string]string{"note": "1"})
	if err != nil || number != 77 {
		t.Fatalf("%d, %v", number, err)
	}
	if _, err := db.AddPort(t.Context(), port, nil); !errors.Is(err, switchdb.ErrExists) {
		t.Errorf("again: %v", err)
	}
	missing := switchdb.Port{Name: "no-such-device"}
	if _, err := db.AddPort(t.Context(), missing, nil); err == nil || !strings.Contains(err.Error(), "cannot open port no-such-device") {
		t.Errorf("no device: %v", err)
	}
	if was, err := db.RemovePort(t.Context(), missing.Name, nil); err != nil || !was {
		t.Errorf("%v, %v", was, err)
	}
	ports, err := db.Ports(t.Context())
	if err != nil || len(ports) != 1 || ports[0].Number != 77 || ports[0].Request != 77 || ports[0].ExternalIDs["k"] != "v" {
		t.Errorf("%+v, %v", ports, err)
	}
	if err := db.SetExternalIDs(t.Context(), "p1", map[string]string{"k": "w"}); err != nil {
		t.Error(err)
	}
	if err := db.SetOptions(t.Context(), "p2", nil); !errors.Is(err, switchdb.ErrNoPort) {
		t.Errorf("no port: %v", err)
	}
	for _, there := range []bool{true, false} {
		if was, err := db.RemovePort(t.Context(), "p1", map[string]string{"removed": "p1"}); err != nil || was != there {
			t.Errorf("removed: %v, %v; want %v", was, err, there)
		}
	}
	if notes, _ := db.Notes(t.Context()); notes["removed"] != "p1" || notes["note"] != "1" {
		t.Errorf("notes %v", notes)
	}
}

func TestDialWithoutServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if db, err := switchdb.Dial(ctx, t.TempDir()+"/db.sock", "b", nil); err == nil || !strings.Contains(err.Error(), "is Open vSwitch running") {
		t.Errorf("%v, %v", db, err)
	}
}
