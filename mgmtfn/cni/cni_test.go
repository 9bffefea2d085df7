package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types040 "github.com/containernetworking/cni/pkg/types/040"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/mgmtfn/cni/plugin"
	"github.com/contiv/contiv/ofnet/protocol"
)

var update = flag.Bool("update", false, "write the golden files")

// TestLifecycle takes a container through its life with upstream's libcni, in every version.
func TestLifecycle(t *testing.T) {
	for _, cniVersion := range plugin.SupportedVersions() {
		t.Run(cniVersion, func(t *testing.T) {
			t.Parallel()
			agent := newTestAgent()
			socket := startServer(t, agent)
			ns := newNetNS(t)
			ctx := t.Context()
			list, err := libcni.ConfListFromBytes([]byte(fmt.Sprintf(`{"cniVersion": %q, "name": "contiv-net", "plugins": [
				{"type": "contivk8s", "agentSocket": %q, "tenant": "blue", "network": "web", "dns": {"nameservers": ["10.1.2.1"]}}]}`,
				cniVersion, socket)))
			if err != nil {
				t.Fatal(err)
			}
			cni := libcni.NewCNIConfigWithCacheDir([]string{binDir}, t.TempDir(), nil)
			runtime := &libcni.RuntimeConf{ContainerID: "container-1", NetNS: ns, IfName: "eth0", Args: [][2]string{{"K8S_POD_NAME", "pod"}, {"IgnoreUnknown", "1"}}}

			result, err := cni.AddNetworkList(ctx, list, runtime)
			if err != nil {
				t.Fatal(err)
			}
			if result.Version() != cniVersion {
				t.Errorf("the result has version %s", result.Version())
			}
			checkAdded(t, result, ns)
			asked := agent.lastAsked(t)
			want := mgmtfn.AttachRequest{
				ContainerID: "container-1", IfName: "eth0", NetNS: ns, Tenant: "blue", Network: "web", ContainerName: "pod",
				Owner: Owner, Notes: map[string]string{"cniNetwork": "contiv-net"},
			}
			if diff := cmp.Diff(want, asked, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("the agent was asked for something else: %s", diff)
			}
			if _, err := cni.AddNetworkList(ctx, list, runtime); code(err) != plugin.CodeInterfaceExists {
				t.Errorf("second ADD: %v", err)
			}
			if cniVersion != "0.3.1" {
				if err := cni.CheckNetworkList(ctx, list, runtime); err != nil {
					t.Errorf("CHECK: %v", err)
				}
			}
			for range 2 {
				if err := cni.DelNetworkList(ctx, list, runtime); err != nil {
					t.Errorf("DEL: %v", err)
				}
			}
			if agent.count() != 0 {
				t.Error("DEL left the attachment")
			}
			if _, err := cni.AddNetworkList(ctx, list, runtime); err != nil {
				t.Fatalf("ADD after DEL: %v", err)
			}
			deleteNetNS(t, ns)
			if err := cni.DelNetworkList(ctx, list, runtime); err != nil {
				t.Errorf("DEL without namespace: %v", err)
			}
		})
	}
}

func code(err error) uint {
	var failure *types.Error
	if errors.As(err, &failure) {
		return failure.Code
	}
	return 0
}

// checkAdded looks for what chained plugins such as portmap need.
func checkAdded(t *testing.T, result types.Result, ns string) {
	t.Helper()
	current, err := types100.GetResult(result)
	if err != nil {
		t.Fatal(err)
	}
	if len(current.Interfaces) != 2 || current.Interfaces[0].Sandbox != "" || current.Interfaces[1].Sandbox != ns ||
		current.Interfaces[1].Name != "eth0" || current.Interfaces[1].Mac != "02:02:0a:01:02:03" {
		t.Errorf("interfaces: %v", current.Interfaces)
	}
	var ips, routes []string
	for _, ip := range current.IPs {
		if ip.Interface == nil || *ip.Interface != 1 {
			t.Errorf("address %s is not on the container's interface", ip.Address.String())
		}
		ips = append(ips, ip.Address.String()+" by "+ip.Gateway.String())
	}
	for _, route := range current.Routes {
		routes = append(routes, route.Dst.String()+" by "+route.GW.String())
	}
	if diff := cmp.Diff([]string{"10.1.2.3/24 by 10.1.2.254", "fd00:1::3/64 by fd00:1::fe"}, ips); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"0.0.0.0/0 by 10.1.2.254", "::/0 by fd00:1::fe"}, routes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"10.1.2.1"}, current.DNS.Nameservers); diff != "" {
		t.Error(diff)
	}
	if old, ok := result.(*types040.Result); ok && old.IPs[0].Version != "4" {
		t.Errorf("an old result needs the version of each address: %v", old.IPs)
	}
}

// TestTool does the same with upstream's cnitool.
func TestTool(t *testing.T) {
	agent := newTestAgent()
	socket := startServer(t, agent)
	ns := newNetNS(t)
	configs := t.TempDir()
	conflist := fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "tool%d", "plugins": [{"type": "contivk8s", "agentSocket": %q}]}`, os.Getpid(), socket)
	if err := os.WriteFile(filepath.Join(configs, "10.conflist"), []byte(conflist), 0o600); err != nil {
		t.Fatal(err)
	}
	tool := func(command string) error {
		cmd := exec.Command(filepath.Join(binDir, "cnitool"), command, fmt.Sprint("tool", os.Getpid()), ns)
		cmd.Env = append(os.Environ(), "NETCONFPATH="+configs, "CNI_PATH="+binDir, "CNI_ARGS=CONTIV_NETWORK=web;CONTIV_TENANT=blue")
		output, err := cmd.CombinedOutput()
		t.Logf("cnitool %s: %s", command, output)
		return err
	}
	for _, command := range []string{"status", "add", "check", "del", "del", "add", "gc", "status"} {
		if err := tool(command); err != nil {
			t.Fatalf("cnitool %s: %v", command, err)
		}
	}
	if asked := agent.lastAsked(t); asked.Tenant != "blue" || asked.Network != "web" {
		t.Errorf("CNI_ARGS did not arrive: %+v", asked)
	}
	if agent.count() != 0 {
		t.Error("gc left an attachment")
	}
}

// ipIn runs ip in the container's namespace.
type ipIn func(args ...string)

func TestCheckFindsDamage(t *testing.T) {
	for name, damage := range map[string]func(in ipIn, ns string, agent *testAgent){
		"address lost": func(in ipIn, _ string, _ *testAgent) {
			in("addr", "flush", "dev", "eth0", "scope", "global")
		},
		"IPv6 lost": func(in ipIn, _ string, _ *testAgent) {
			in("addr", "del", "fd00:1::3/64", "dev", "eth0")
		},
		"route lost": func(in ipIn, _ string, _ *testAgent) { in("route", "del", "default") },
		"other route": func(in ipIn, _ string, _ *testAgent) {
			in("route", "replace", "default", "via", "10.1.2.9")
		},
		"link down": func(in ipIn, _ string, _ *testAgent) { in("link", "set", "eth0", "down") },
		"link renamed": func(in ipIn, _ string, _ *testAgent) {
			in("link", "set", "eth0", "down", "name", "eth1")
		},
		"link deleted": func(in ipIn, _ string, _ *testAgent) { in("link", "del", "eth0") },
		"other MAC": func(in ipIn, _ string, _ *testAgent) {
			in("link", "set", "eth0", "address", "02:00:00:00:00:01")
		},
		"namespace gone": func(_ ipIn, ns string, _ *testAgent) { _ = exec.Command("ip", "netns", "del", filepath.Base(ns)).Run() },
		"not attached":   func(_ ipIn, _ string, agent *testAgent) { agent.set(func(a *testAgent) { clear(a.attached) }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := newTestAgent()
			socket, ns := startServer(t, agent), newNetNS(t)
			env := []string{socketEnv(socket), "CNI_CONTAINERID=c1", "CNI_NETNS=" + ns, "CNI_IFNAME=eth0"}
			added, status := call(t, `{"cniVersion":"1.0.0","name":"n","type":"contivk8s"}`, append(env, "CNI_COMMAND=ADD")...)
			if status != 0 {
				t.Fatalf("ADD: %s", added)
			}
			config := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"n","type":"contivk8s","prevResult":%s}`, added)
			if out, status := call(t, config, append(env, "CNI_COMMAND=CHECK")...); status != 0 || out != "" {
				t.Fatalf("CHECK after ADD: %s", out)
			}
			links := agent.attached
			damage(func(args ...string) { inside(t, ns, args...) }, ns, agent)
			out, status := call(t, config, append(env, "CNI_COMMAND=CHECK")...)
			var failure types.Error
			if status != 1 || json.Unmarshal([]byte(out), &failure) != nil ||
				failure.Code != plugin.CodeDamaged && failure.Code != types.ErrUnknownContainer {
				t.Errorf("CHECK: status %d, %s", status, out)
			}
			t.Log(failure.Msg)
			agent.set(func(a *testAgent) { a.attached = links })
		})
	}
}

// TestCheckLetsChainedPluginsBe: a route that a later plugin took out of the result is not missed.
func TestCheckLetsChainedPluginsBe(t *testing.T) {
	agent := newTestAgent()
	socket, ns := startServer(t, agent), newNetNS(t)
	env := []string{socketEnv(socket), "CNI_CONTAINERID=c1", "CNI_NETNS=" + ns, "CNI_IFNAME=eth0"}
	added, _ := call(t, `{"cniVersion":"1.0.0","name":"n","type":"contivk8s"}`, append(env, "CNI_COMMAND=ADD")...)
	var result types100.Result
	if err := json.Unmarshal([]byte(added), &result); err != nil {
		t.Fatal(err)
	}
	result.Routes = nil
	result.Interfaces = append(result.Interfaces, &types100.Interface{Name: "ifb0"})
	changed, err := json.Marshal(&result)
	if err != nil {
		t.Fatal(err)
	}
	inside(t, ns, "route", "del", "default")
	out, status := call(t, fmt.Sprintf(`{"cniVersion":"1.0.0","name":"n","type":"contivk8s","prevResult":%s}`, changed), append(env, "CNI_COMMAND=CHECK")...)
	if status != 0 {
		t.Errorf("CHECK: %s", out)
	}
}

// TestPrevResult: what plugins before us made stays in the result, and our addresses point at our interface.
func TestPrevResult(t *testing.T) {
	agent := newTestAgent()
	socket, ns := startServer(t, agent), newNetNS(t)
	out, status := call(t, `{"cniVersion":"0.4.0","name":"n","type":"contivk8s","prevResult":{"cniVersion":"0.4.0",
		"interfaces":[{"name":"lo","sandbox":"/x"}],"ips":[{"version":"4","address":"127.0.0.1/8","interface":0}]}}`,
		socketEnv(socket), "CNI_CONTAINERID=c1", "CNI_NETNS="+ns, "CNI_IFNAME=eth0", "CNI_COMMAND=ADD")
	var result types040.Result
	if err := json.Unmarshal([]byte(out), &result); err != nil || status != 0 {
		t.Fatalf("%v: %s", err, out)
	}
	if len(result.Interfaces) != 3 || result.Interfaces[0].Name != "lo" || *result.IPs[0].Interface != 0 || *result.IPs[1].Interface != 2 {
		t.Errorf("result: %s", out)
	}
}

func TestGC(t *testing.T) {
	agent := newTestAgent()
	socket := startServer(t, agent)
	for _, one := range []struct{ owner, config, container string }{
		{Owner, "mine", "valid"}, {Owner, "mine", "stale"}, {Owner, "other", "others"}, {"docker", "mine", "docker"},
	} {
		agent.attached[key(one.container, "eth0")] = mgmtfn.Attachment{
			ID:    protocol.EndpointID{Host: "host1", ContainerID: one.container, IfName: "eth0"},
			Owner: one.owner, Notes: map[string]string{noteConfig: one.config}, HostLink: "cnit-none",
		}
	}
	out, status := call(t, `{"cniVersion":"1.1.0","name":"mine","type":"contivk8s","cni.dev/valid-attachments":[{"containerID":"valid","ifname":"eth0"}]}`,
		"CNI_COMMAND=GC", socketEnv(socket))
	if status != 0 || out != "" {
		t.Errorf("GC: %s", out)
	}
	if _, stale := agent.attached["stale/eth0"]; stale || agent.count() != 3 {
		t.Errorf("left: %v", agent.attached)
	}
}

// TestErrors compares the error objects of the plugin with testdata/errors.golden.
func TestErrors(t *testing.T) {
	agent := newTestAgent()
	socket := startServer(t, agent)
	ns := newNetNS(t)
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	base := `{"cniVersion":"1.1.0","name":"n","type":"contivk8s"%s}`
	with := func(more string) string { return fmt.Sprintf(base, more) }
	env := func(command string, more ...string) []string {
		return append([]string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=c1", "CNI_NETNS=" + ns, "CNI_IFNAME=eth0", socketEnv(socket)}, more...)
	}
	refused := func(code int, text string) error {
		return fmt.Errorf("attaching host1/c1/eth0: %w", protocol.Errorf(code, "%s", text))
	}
	var golden bytes.Buffer
	for _, one := range []struct {
		name    string
		config  string
		env     []string
		failure error
		ready   error
	}{
		{name: "no container id", config: with(""), env: []string{"CNI_COMMAND=ADD", "CNI_NETNS=" + ns, "CNI_IFNAME=eth0"}},
		{name: "bad interface name", config: with(""), env: env("ADD", "CNI_IFNAME=a/b")},
		{name: "unknown command", config: with(""), env: env("MOVE")},
		{name: "config is no JSON", config: `{`, env: env("ADD")},
		{name: "config without name", config: `{"cniVersion":"1.1.0"}`, env: env("ADD")},
		{name: "version too new", config: `{"cniVersion":"2.0.0","name":"n"}`, env: env("ADD")},
		{name: "CHECK in an old version", config: `{"cniVersion":"0.3.1","name":"n"}`, env: env("CHECK")},
		{name: "CHECK without prevResult", config: with(""), env: env("CHECK")},
		{name: "prevResult of another shape", config: with(`,"prevResult":{"cniVersion":"1.1.0","ips":7}`), env: env("ADD")},
		{name: "misspelt key", config: with(`,"net":"web"`), env: env("ADD")},
		{name: "key of the wrong type", config: with(`,"network":7`), env: env("ADD")},
		{name: "ipam", config: with(`,"ipam":{"type":"host-local"}`), env: env("ADD")},
		{name: "ipMasq", config: with(`,"ipMasq":true`), env: env("ADD")},
		{name: "misspelt key in args", config: with(`,"args":{"contiv":{"tennant":"blue"}}`), env: env("ADD")},
		{name: "args of the wrong type", config: with(`,"args":{"contiv":{"tenant":1}}`), env: env("ADD")},
		{name: "misspelt CNI_ARGS", config: with(""), env: env("ADD", "CNI_ARGS=IgnoreUnknown=1;CONTIV_TENNANT=blue")},
		{name: "unknown CNI_ARGS", config: with(""), env: env("ADD", "CNI_ARGS=FOO=BAR")},
		{name: "CNI_ARGS without value", config: with(""), env: env("ADD", "CNI_ARGS=FOO")},
		{name: "bad address", config: with(""), env: env("ADD", "CNI_ARGS=IP=10.1.2")},
		{name: "bad address in the config", config: with(`,"runtimeConfig":{"ips":["10.1.2.3","10.1.2.4"]}`), env: env("ADD")},
		{name: "bad MAC", config: with(`,"runtimeConfig":{"mac":"01:00:5e:00:00:01"}`), env: env("ADD")},
		{name: "namespace is gone", config: with(""), env: env("ADD", "CNI_NETNS=/run/netns/cnitest-none")},
		{name: "namespace is a file", config: with(""), env: env("ADD", "CNI_NETNS="+plain)},
		{name: "the host's own namespace", config: with(""), env: env("ADD", "CNI_NETNS=/proc/self/ns/net")},
		{name: "interface exists", config: with(""), env: env("ADD", "CNI_IFNAME=lo")},
		{name: "no such network", config: with(""), env: env("ADD"), failure: refused(protocol.CodeNotFound, `network "n" does not exist`)},
		{name: "address taken", config: with(""), env: env("ADD"), failure: refused(protocol.CodeConflict, "address 10.1.2.3 is taken")},
		{name: "no address left", config: with(""), env: env("ADD"), failure: refused(protocol.CodeExhausted, "no address is left")},
		{name: "invalid", config: with(""), env: env("ADD"), failure: refused(protocol.CodeInvalid, "name a network or a group")},
		{name: "refused host", config: with(""), env: env("ADD"), failure: refused(protocol.CodeRefused, "not this host's endpoint")},
		{name: "netmaster away", config: with(""), env: env("ADD"), failure: refused(protocol.CodeUnavailable, "netmaster cannot be reached")},
		{name: "took too long", config: with(""), env: env("ADD"), failure: fmt.Errorf("making the port: %w", context.DeadlineExceeded)},
		{name: "unforeseen", config: with(""), env: env("ADD"), failure: errors.New("making the port: no space left on device")},
		{name: "CHECK of nothing", config: with(`,"prevResult":{"cniVersion":"1.1.0"}`), env: env("CHECK")},
		{name: "STATUS without netmaster", config: with(""), env: env("STATUS"), ready: &mgmtfn.NotReady{Reason: "netmaster cannot be reached"}},
		{name: "STATUS without switch", config: with(""), env: env("STATUS"), ready: &mgmtfn.NotReady{Reason: "the switch does not answer", Impaired: true}},
		{name: "ADD without agent", config: with(`,"agentSocket":"/run/netns/cnitest-none.sock"`), env: env("ADD")},
		{name: "DEL without agent", config: with(`,"agentSocket":"/run/netns/cnitest-none.sock"`), env: env("DEL")},
		{name: "STATUS without agent", config: with(`,"agentSocket":"/run/netns/cnitest-none.sock"`), env: env("STATUS")},
	} {
		agent.set(func(a *testAgent) { a.failure, a.notReady = one.failure, one.ready })
		out, status := call(t, one.config, one.env...)
		if status != 1 {
			t.Errorf("%s: exit status %d", one.name, status)
		}
		out = strings.NewReplacer(ns, "NETNS", plain, "FILE", socket, "SOCKET").Replace(out)
		fmt.Fprintf(&golden, "# %s\n%s\n", one.name, out)
	}
	if agent.count() != 0 {
		t.Error("an error left an attachment")
	}
	compareGolden(t, "testdata/errors.golden", golden.Bytes())
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), -update writes it:\n%s", path, diff)
	}
}

// TestDeadPlugin: when the runtime kills the plugin, the agent's work is cancelled.
func TestDeadPlugin(t *testing.T) {
	agent := newTestAgent()
	agent.block = true
	socket, ns := startServer(t, agent), newNetNS(t)
	cmd := exec.Command(filepath.Join(binDir, "contivk8s"))
	cmd.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=" + ns, "CNI_IFNAME=eth0", "CNI_PATH=/", socketEnv(socket)}
	cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0","name":"n"}`)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	for asked := 0; asked == 0; {
		select {
		case <-deadline:
			t.Fatal("the agent was not asked")
		case <-time.After(5 * time.Millisecond):
			agent.set(func(a *testAgent) { asked = len(a.asked) })
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	// That Attach returned is seen by the server's clean stop at the end of the test.
}

// TestOriginalPlugin speaks as the original's contivk8s did.
func TestOriginalPlugin(t *testing.T) {
	agent := newTestAgent()
	socket, ns := startServer(t, agent), newNetNS(t)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	post := func(path, ns string) (int, map[string]any) {
		body := fmt.Sprintf(`{"K8S_POD_NAME":"pod","K8S_POD_NAMESPACE":"default","K8S_POD_INFRA_CONTAINER_ID":"c1","CNI_NETNS":%q,"CNI_IFNAME":"eth0"}`, ns)
		answer, err := client.Post("http://agent"+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		var members map[string]any
		if err := json.NewDecoder(answer.Body).Decode(&members); err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, members
	}
	status, members := post("/ContivCNI.AddPod", ns)
	want := map[string]any{"result": 0.0, "endpointid": "default-net.default-c1", "ipaddress": "10.1.2.3/24", "ipv6address": "fd00:1::3/64"}
	if diff := cmp.Diff(want, members); diff != "" || status != http.StatusOK {
		t.Errorf("status %d: %s", status, diff)
	}
	for range 2 {
		if status, members := post("/ContivCNI.DelPod", ns); status != http.StatusOK || members["result"] != 0.0 {
			t.Errorf("DelPod: status %d, %v", status, members)
		}
	}
	status, members = post("/ContivCNI.AddPod", "/run/netns/cnitest-none")
	if status != http.StatusInternalServerError || members["result"] != 3.0 || members["errmsg"] == "" {
		t.Errorf("AddPod without namespace: status %d, %v", status, members)
	}
}

func TestVersionAndFlags(t *testing.T) {
	out, status := call(t, "", "CNI_COMMAND=VERSION")
	if want := `{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}`; strings.TrimSpace(out) != want || status != 0 {
		t.Errorf("VERSION: %s", out)
	}
	printed, err := exec.Command(filepath.Join(binDir, "contivk8s"), "-version").Output()
	if err != nil || !strings.HasPrefix(string(printed), "Version: ") {
		t.Errorf("-version: %v, %s", err, printed)
	}
}

// TestListen: a socket that a dead agent left is replaced, one that is served is not.
func TestListen(t *testing.T) {
	path := startServer(t, newTestAgent())
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another netplugin") {
		t.Errorf("a second server: %v", err)
	}
	stale := filepath.Join(t.TempDir(), "stale.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	listener, err := Listen(stale)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if info, err := os.Stat(stale); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket: %v, %v", info.Mode(), err)
	}
}
