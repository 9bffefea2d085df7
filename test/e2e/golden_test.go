package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/objdb/etcd/etcdtest"
	"github.com/contiv/contiv/ofnet/protocol"
)

var updateGolden = flag.Bool("update", false, "write what the steps of the golden tutorial print into testdata/golden")

// The control-plane steps of the golden tutorial are scripts, a file for each part: netctl, as users have it, against
// a netmaster process of its own, on the embedded store and on etcd. In a script
//
//	== A3 words              begins a step, which is a subtest of that name
//	$ netctl ...             is a command; its output follows, and its exit status unless it is 0
//	$ netctl ... | Oper.x    shows only the named members of its JSON
//	> POST /path {...}       is a request; status and answer follow
//	+ HOST NAME TENANT NETWORK [GROUP] [LABEL=VALUE]...   starts a container, - HOST NAME removes it; with NAME*9, nine
//
// and everything else is output. What hosts cannot do yet is warned of; the warnings are not shown here, because they go
// with the versions.

// TestGolden goes through every [CP] step of the golden tutorial that is a line of netctl or REST. F13 is
// TestGoldenHighAvailability and TestGoldenListenAddresses.
func TestGolden(t *testing.T) {
	scripts, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, name := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			t.Run("embedded", func(t *testing.T) {
				got := newGolden(t, "--data-dir", t.TempDir()).play(string(text))
				if *updateGolden {
					if err := os.WriteFile(name, []byte(got), 0o644); err != nil { //nolint:gosec // a file of the tree
						t.Fatal(err)
					}
				}
			})
			if *updateGolden {
				return
			}
			t.Run("etcd", func(t *testing.T) { newGolden(t, "--etcd", etcdtest.New(t).URL).play(string(text)) })
		})
	}
}

// golden is a netmaster, and hosts without a switch that are attached to it.
type golden struct {
	outer, t *testing.T // of the netmaster, and of the step
	url, rpc string
	home     string
	hosts    map[string]*bareHost
}

func newGolden(t *testing.T, store ...string) *golden {
	t.Helper()
	g := &golden{outer: t, t: t, home: t.TempDir(), hosts: map[string]*bareHost{}}
	rest, rpc := freeAddress(t), freeAddress(t)
	g.url, g.rpc = "http://"+rest, rpc
	_, _ = startNetmaster(t, append([]string{"--mode", "docker", "--external-address", rest, "--rpc-address", rpc}, store...)...)
	awaitLeader(t, g.url)
	return g
}

// freeAddress names a port of loopback that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	return strings.TrimPrefix(etcdtest.FreeURL(t), "http://")
}

// startNetmaster runs a netmaster process until the test ends, or kill is called.
func startNetmaster(t *testing.T, args ...string) (pid int, kill func()) {
	t.Helper()
	var log strings.Builder
	cmd := exec.Command(filepath.Join(binDir, "netmaster"), append([]string{"--run-dir", t.TempDir(), "--log-level", "warn"}, args...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	t.Cleanup(func() {
		kill()
		if t.Failed() {
			t.Logf("netmaster %v:\n%s", args, log.String())
		}
	})
	return cmd.Process.Pid, kill
}

// awaitLeader waits until the netmaster at the URL knows who leads, and gives the leader's address.
func awaitLeader(t *testing.T, url string) (leader string) {
	t.Helper()
	api, err := client.New(url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	c := &cluster{t: t}
	c.eventually(20*time.Second, "a netmaster leads", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		info, err := api.Info(ctx)
		if err == nil {
			leader = info.LeaderIP
		}
		return err == nil && leader != ""
	})
	return leader
}

// step is a part of a script.
type step struct{ name, text string }

// steps cuts a script at its headings; the first step holds what comes before them.
func steps(script string) (out []step) {
	out = []step{{name: "begin"}}
	for line := range strings.Lines(script) {
		if heading, ok := strings.CutPrefix(line, "== "); ok {
			name, _, _ := strings.Cut(strings.TrimSpace(heading), " ")
			out = append(out, step{name: name})
		}
		out[len(out)-1].text += line
	}
	return out
}

// play runs a script, a subtest for each step, and gives what it should be after what was printed.
func (g *golden) play(script string) string {
	var out strings.Builder
	for _, step := range steps(script) {
		g.outer.Run(step.name, func(t *testing.T) {
			g.t = t
			got := g.playStep(step.text)
			out.WriteString(got)
			if diff := cmp.Diff(strings.Split(step.text, "\n"), strings.Split(got, "\n")); diff != "" && !*updateGolden {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	return out.String()
}

func (g *golden) playStep(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		var printed string
		switch kind {
		case "==", "#":
			out.WriteString(line)
			continue
		case "$":
			printed = g.command(rest)
		case ">":
			printed = g.request(rest)
		case "+":
			printed = g.plug(strings.Fields(rest))
		case "-":
			printed = g.unplug(strings.Fields(rest))
		default:
			continue // what was printed last time, or a gap
		}
		out.WriteString(line + printed + "\n")
	}
	return out.String()
}

var (
	// versionLine is what differs with every build.
	versionLine = regexp.MustCompile(`(?m)^(Version|GitCommit|BuildTime): .*$`)
	warningLine = regexp.MustCompile(`(?m)^level=warning .*\n`)
)

func (g *golden) command(line string) string {
	g.t.Helper()
	line, members, _ := strings.Cut(line, " | ")
	args := shellWords(line)
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, "netctl"), args[1:]...)
	cmd.Env = append(os.Environ(), "NETMASTER="+g.url, "HOME="+g.home)
	output, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		g.t.Fatalf("%s: %v", line, err)
	}
	printed := warningLine.ReplaceAllString(string(output), "")
	printed = versionLine.ReplaceAllString(printed, "$1: ...")
	if status := cmd.ProcessState.ExitCode(); status != 0 {
		if at := strings.Index(printed, "level=error"); at >= 0 {
			printed = printed[at:] // after the help that comes with wrong usage
		}
		return fmt.Sprintf("%s[exit %d]\n", printed, status)
	}
	if members == "" {
		return printed
	}
	return g.project(printed, strings.Fields(members))
}

// project shows members of a JSON text, one a line; those that are not there as "absent".
func (g *golden) project(text string, paths []string) string {
	g.t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		g.t.Fatalf("not JSON: %v: %s", err, text)
	}
	var out strings.Builder
	for _, path := range paths {
		at, found := value, true
		for _, name := range strings.Split(path, ".") {
			switch in := at.(type) {
			case map[string]any:
				at, found = in[name]
			case []any:
				i, err := strconv.Atoi(name)
				if found = err == nil && i < len(in); found {
					at = in[i]
				}
			default:
				found = false
			}
			if !found {
				break
			}
		}
		shown, _ := json.Marshal(at) // it was JSON before
		if !found {
			shown = []byte("absent")
		}
		fmt.Fprintf(&out, "%s: %s\n", path, shown)
	}
	return out.String()
}

// shellWords splits a command line; what is in double quotes stays together.
func shellWords(line string) (out []string) {
	quoted := false
	for _, word := range strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	}) {
		out = append(out, strings.ReplaceAll(word, `"`, ""))
	}
	return out
}

func (g *golden) request(line string) string {
	g.t.Helper()
	method, rest, _ := strings.Cut(line, " ")
	path, body, _ := strings.Cut(rest, " ")
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", response.StatusCode, answer)
}

// host gives a host, attached when it is first asked for.
func (g *golden) host(name string) *bareHost {
	g.t.Helper()
	if g.hosts[name] == nil {
		g.hosts[name] = startBareHost(g.t, name, g.rpc)
		g.outer.Cleanup(func() { g.hosts[name].stop() })
	}
	return g.hosts[name]
}

func (g *golden) plug(words []string) string {
	g.t.Helper()
	labels := map[string]string{}
	words = slices.DeleteFunc(words, func(word string) bool {
		key, value, isLabel := strings.Cut(word, "=")
		if isLabel {
			labels[key] = value
		}
		return isLabel
	})
	host, names := g.host(words[0]), manyNames(words[1])
	made, addresses := 0, map[string]bool{}
	for _, name := range names {
		e, err := host.attach(g.t.Context(), protocol.CreateEndpointRequest{
			ID: host.id(name), Tenant: words[2], Network: words[3], Groups: words[4:], ContainerName: name, Labels: labels,
		})
		switch {
		case err != nil && len(names) == 1:
			return fmt.Sprintf("refused: %v\n", err)
		case err != nil:
			continue
		case len(names) == 1:
			return fmt.Sprintln(strings.TrimSpace(addressText(e.IPv4)+" "+addressText(e.IPv6)), e.MAC)
		}
		made++
		addresses[addressText(e.IPv4)] = true
		addresses[addressText(e.IPv6)] = true
	}
	return fmt.Sprintf("%d of %d started, with %d different addresses\n", made, len(names), len(addresses))
}

// manyNames gives web1, web2 and web3 for web*3, and any other name as it is.
func manyNames(text string) (names []string) {
	name, times, many := strings.Cut(text, "*")
	if !many {
		return []string{name}
	}
	for i := range atoi(times) {
		names = append(names, name+strconv.Itoa(i+1))
	}
	return names
}

func atoi(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

func (g *golden) unplug(words []string) string {
	g.t.Helper()
	host := g.host(words[0])
	for _, name := range manyNames(words[1]) {
		if err := host.detach(g.t.Context(), name); err != nil {
			return "refused: " + err.Error() + "\n"
		}
	}
	return ""
}
