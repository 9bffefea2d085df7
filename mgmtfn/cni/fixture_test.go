package cni

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/mgmtfn/cni/plugin"
	"github.com/contiv/contiv/ofnet/protocol"
)

// binDir holds contivk8s and cnitool, built once.
var binDir string

func TestMain(m *testing.M) {
	var err error
	if binDir, err = os.MkdirTemp("", "contiv-cni-test-"); err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(binDir) }()
	build := exec.Command("go", "build", "-o", binDir,
		"github.com/contiv/contiv/cmd/contivk8s", "github.com/containernetworking/cni/cnitool")
	if output, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("building the plugin: %v\n%s", err, output))
	}
	if m.Run() != 0 {
		return
	}
	if err := goleak.Find(); err != nil {
		panic(err)
	}
}

// testAgent attaches with plain veth pairs, so that links can be looked at, and keeps what it was asked.
type testAgent struct {
	mu       sync.Mutex
	attached map[string]mgmtfn.Attachment
	asked    []mgmtfn.AttachRequest
	next     netip.Addr
	failure  error // of Attach, if set
	notReady error
	block    bool // Attach waits for its context
}

func newTestAgent() *testAgent {
	return &testAgent{attached: map[string]mgmtfn.Attachment{}, next: netip.MustParseAddr("10.1.2.3")}
}

var linkNumber atomic.Int32

func (a *testAgent) Attach(ctx context.Context, want mgmtfn.AttachRequest) (mgmtfn.Attachment, error) {
	a.mu.Lock()
	failure, block := a.failure, a.block
	a.asked = append(a.asked, want)
	a.mu.Unlock()
	if block {
		<-ctx.Done()
		return mgmtfn.Attachment{}, ctx.Err()
	}
	if failure != nil {
		return mgmtfn.Attachment{}, failure
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	addr := a.next
	a.next = a.next.Next()
	made := mgmtfn.Attachment{
		ID:     protocol.EndpointID{Host: "host1", ContainerID: want.ContainerID, IfName: want.IfName},
		Tenant: want.Tenant, Network: want.Network, Groups: want.Groups, NetNS: want.NetNS,
		MAC: fmt.Sprintf("02:02:0a:01:02:%02x", addr.As4()[3]), MTU: 1450,
		IPv4: netip.PrefixFrom(addr, 24), Gateway: netip.MustParseAddr("10.1.2.254"),
		IPv6: netip.MustParsePrefix("fd00:1::3/64"), Gateway6: netip.MustParseAddr("fd00:1::fe"),
		HostLink:      fmt.Sprintf("cnit%d-%d", os.Getpid()%100000, linkNumber.Add(1)),
		ContainerLink: want.IfName, Owner: want.Owner, Notes: want.Notes,
	}
	if err := plugIn(&made); err != nil {
		return mgmtfn.Attachment{}, err
	}
	a.attached[key(want.ContainerID, want.IfName)] = made
	return made, nil
}

func key(containerID, ifName string) string { return containerID + "/" + ifName }

// plugIn makes the veth pair of an attachment.
func plugIn(made *mgmtfn.Attachment) error {
	target, err := netns.GetFromPath(made.NetNS)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	mac, _ := net.ParseMAC(made.MAC)
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: made.HostLink}, PeerName: made.ContainerLink, PeerNamespace: netlink.NsFd(target),
		PeerHardwareAddr: mac,
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("adding the veth pair: %w", err)
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		return err
	}
	inside, err := netlink.NewHandleAt(target)
	if err != nil {
		return err
	}
	defer inside.Close()
	link, err := inside.LinkByName(made.ContainerLink)
	if err != nil {
		return err
	}
	for _, one := range addresses(*made) {
		address := ipNet(one.addr)
		// No duplicate address detection: the address is to be there at once.
		if err := inside.AddrAdd(link, &netlink.Addr{IPNet: &address, Flags: 0x02}); err != nil {
			return fmt.Errorf("adding %s: %w", one.addr, err)
		}
	}
	if err := inside.LinkSetUp(link); err != nil {
		return err
	}
	for _, one := range addresses(*made) {
		dst := ipNet(defaultRoute(one.gateway))
		if err := inside.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: &dst, Gw: one.gateway.AsSlice()}); err != nil {
			return fmt.Errorf("adding the route by %s: %w", one.gateway, err)
		}
	}
	return nil
}

func (a *testAgent) Detach(_ context.Context, containerID, ifName string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	made, ok := a.attached[key(containerID, ifName)]
	if !ok {
		return nil
	}
	delete(a.attached, key(containerID, ifName))
	link, err := netlink.LinkByName(made.HostLink)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) { // gone with the namespace
		return nil
	}
	if err != nil {
		return err
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) { // the namespace goes in its own time
		return err
	}
	return nil
}

func (a *testAgent) Check(_ context.Context, containerID, ifName string) (mgmtfn.Attachment, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	made, ok := a.attached[key(containerID, ifName)]
	if !ok {
		return made, fmt.Errorf("endpoint host1/%s/%s: %w", containerID, ifName, mgmtfn.ErrNotAttached)
	}
	return made, nil
}

func (a *testAgent) Attachments(context.Context) ([]mgmtfn.Attachment, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []mgmtfn.Attachment
	for _, one := range a.attached {
		all = append(all, one)
	}
	return all, nil
}

func (a *testAgent) Ready(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.notReady
}

func (a *testAgent) set(change func(*testAgent)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

func (a *testAgent) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.attached)
}

// lastAsked is the last request.
func (a *testAgent) lastAsked(t *testing.T) mgmtfn.AttachRequest {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.asked) == 0 {
		t.Fatal("the agent was not asked")
	}
	return a.asked[len(a.asked)-1]
}

// startServer serves an agent on a socket of its own until the test ends, and answers the socket's path.
func startServer(t *testing.T, agent Agent) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), SocketName)
	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- New(agent, logrus.NewEntry(log)).Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(time.Second):
			t.Error("the server did not stop within a second")
		}
	})
	return path
}

var nsNumber atomic.Int32

// newNetNS makes a network namespace and answers its path.
func newNetNS(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("cnitest-%d-%d", os.Getpid(), nsNumber.Add(1))
	if output, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v: %s", err, output)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() }) // a test may have deleted it
	return "/run/netns/" + name
}

func deleteNetNS(t *testing.T, path string) {
	t.Helper()
	if output, err := exec.Command("ip", "netns", "del", filepath.Base(path)).CombinedOutput(); err != nil {
		t.Fatalf("ip netns del: %v: %s", err, output)
	}
}

// inside runs ip in a namespace.
func inside(t *testing.T, path string, args ...string) {
	t.Helper()
	output, err := exec.Command("ip", append([]string{"-n", filepath.Base(path)}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip -n %s %s: %v: %s", path, strings.Join(args, " "), err, output)
	}
}

// call runs contivk8s as a runtime does.
func call(t *testing.T, config string, env ...string) (stdout string, status int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(binDir, "contivk8s"))
	cmd.Env = append([]string{"CNI_PATH=" + binDir}, env...)
	cmd.Stdin = strings.NewReader(config)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if errors.Len() > 0 {
		t.Logf("stderr: %s", errors.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func socketEnv(path string) string { return plugin.SocketEnv + "=" + path }
