package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contiv/contiv/install/sandbox"
)

// referencePlugins is the directory of the reference CNI plugins that "make test" builds.
func referencePlugins(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CONTIV_CNI_BIN")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(home, ".cache", "contiv", "cni-v1.9.1")
	}
	if _, err := os.Stat(filepath.Join(dir, "portmap")); err != nil {
		t.Fatalf("the reference CNI plugins are built by \"make test\": %v", err)
	}
	return dir
}

// TestPortmap chains the reference portmap plugin behind ours with cnitool: it finds the container's address in our
// result, and both ADD and DEL of the chain succeed.
func TestPortmap(t *testing.T) {
	plugins := referencePlugins(t)
	c := start(t, sandbox.Config{Hosts: 1})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "n")
	config := t.TempDir()
	list := `{"cniVersion":"1.0.0","name":"chained","plugins":[{"type":"contivk8s","network":"n"},
		{"type":"portmap","capabilities":{"portMappings":true},"snat":false}]}`
	if err := os.WriteFile(filepath.Join(config, "10-chained.conflist"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	space := c.NetNS(1) // any namespace with the prefix is removed with the sandbox
	space = strings.TrimSuffix(space, "-h1") + "-w-chained"
	c.onHost(1, "ip", "netns", "add", filepath.Base(space))
	tool := func(verb string) string {
		return c.onHost(1, "env", "NETCONFPATH="+config, "CNI_PATH="+binDir+":"+plugins,
			`CAP_ARGS={"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}`,
			filepath.Join(plugins, "cnitool"), verb, "chained", space)
	}
	if result := tool("add"); !strings.Contains(result, "10.1.2.1/24") {
		t.Errorf("the result of the chain: %s", result)
	}
	want := fmt.Sprintf("--dport 8080 -j DNAT --to-destination %s:80", "10.1.2.1")
	if rules := c.onHost(1, "iptables", "-t", "nat", "-S"); !strings.Contains(rules, want) {
		t.Errorf("no %q in\n%s", want, rules)
	}
	tool("check")
	tool("del")
	if rules := c.onHost(1, "iptables", "-t", "nat", "-S"); strings.Contains(rules, "10.1.2.1") {
		t.Errorf("left behind:\n%s", rules)
	}
	c.ok("net", "rm", "n")
}
