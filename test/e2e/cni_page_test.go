package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/contiv/contiv/install/sandbox"
)

// TestCNIPage attaches a namespace with every configuration of docs/cni.md, as a runtime would, and once more with the
// arguments of the page's Nomad job.
func TestCNIPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/cni.md")
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, sandbox.Config{Hosts: 1})
	c.ok("net", "create", "--subnet=10.32.0.0/16", "--gateway=10.32.0.1", "default-net")
	c.ok("tenant", "create", "blue")
	c.ok("net", "create", "-t", "blue", "--subnet=10.1.0.0/24", "app")
	c.ok("group", "create", "-t", "blue", "app", "web")
	for _, variable := range c.Environment(1) {
		if name, value, _ := strings.Cut(variable, "="); name == "CONTIV_CNI_SOCKET" {
			t.Setenv(name, value)
		}
	}
	job := [][2]string{{"IgnoreUnknown", "true"}, {"NOMAD_JOB_ID", "example"}}
	for _, match := range regexp.MustCompile(`(?m)^ +(CONTIV_\w+) += "(\w+)"$`).FindAllStringSubmatch(string(page), -1) {
		job = append(job, [2]string{match[1], match[2]})
	}
	if len(job) != 5 {
		t.Fatalf("the page's job has the arguments %q", job)
	}
	configurations := 0
	for _, block := range fenced(string(page), "json") {
		list, err := libcni.NetworkConfFromBytes([]byte(block))
		if err != nil {
			t.Fatalf("%v:\n%s", err, block)
		}
		configurations++
		c.plugAndUnplug(list, nil, "default-net.default", "10.32.")
		c.plugAndUnplug(list, job, "app.blue", "10.1.0.")
	}
	if configurations < 2 {
		t.Errorf("the page has %d configurations", configurations)
	}
}

// plugAndUnplug adds and deletes an interface by the first plugin of a list.
func (c *cluster) plugAndUnplug(list *libcni.NetworkConfigList, args [][2]string, network, prefix string) {
	c.t.Helper()
	name := fmt.Sprintf("cnipage-%d", os.Getpid())
	if output, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		c.t.Fatalf("%v %s", err, output)
	}
	defer exec.Command("ip", "netns", "del", name).Run() //nolint:errcheck // only its name is left
	conf, err := libcni.InjectConf(list.Plugins[0], map[string]any{"name": list.Name, "cniVersion": list.CNIVersion})
	c.must(err)
	runtime := &libcni.RuntimeConf{ContainerID: "page-container", NetNS: "/run/netns/" + name, IfName: "eth0", Args: args}
	cni := libcni.NewCNIConfigWithCacheDir([]string{binDir}, c.t.TempDir(), nil)
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	result, err := cni.AddNetwork(ctx, conf, runtime)
	if err != nil {
		c.t.Fatalf("ADD by %s: %v", list.Name, err)
	}
	if !strings.Contains(fmt.Sprint(result), prefix) {
		c.t.Errorf("%s gave %v, want an address %s...", list.Name, result, prefix)
	}
	if endpoint := c.ok("endpoint", "inspect", "page-container"); !strings.Contains(endpoint, network) {
		c.t.Errorf("%s attached to another network than %s: %s", list.Name, network, endpoint)
	}
	if err := cni.DelNetwork(ctx, conf, runtime); err != nil {
		c.t.Fatalf("DEL by %s: %v", list.Name, err)
	}
}

// fenced are the contents of a page's fenced blocks of a kind.
func fenced(page, kind string) []string {
	var found []string
	for {
		_, rest, ok := strings.Cut(page, "\n```"+kind+"\n")
		if !ok {
			return found
		}
		block, after, _ := strings.Cut(rest, "\n```\n")
		found, page = append(found, block), after
	}
}
