package netctl

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

var update = flag.Bool("update", false, "write what the commands print into testdata")

// TestScripts runs every script of testdata against a netmaster of its own and compares what is printed. A line
// "$ netctl ..." is a command; "+ endpoint HOST CONTAINER TENANT NETWORK [GROUP]" plugs something in, "+ connected HOST"
// makes its agent connected, "+ registers HOST" has it register with nothing plugged in; lines with # are comments; the rest is output, with the exit status at the end unless it is 0.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, name := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := startStage(t).play(string(want))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		})
	}
}

// stage is a netmaster on a store in memory, and a netctl that talks to it.
type stage struct {
	t       *testing.T
	objects *objects.Objects
	program *program
	url     string
	agents  *connections
	hosts   []string // that have registered
}

type nobody struct{}

func (nobody) Leader() (string, bool) { return "192.0.2.1:9999", true }
func (nobody) LocalAddress() string   { return "192.0.2.1:9999" }
func (nobody) Masters() []string      { return nil }

// connections are the agents that a script says are connected.
type connections struct{ connected []string }

func (c *connections) Connected(host string) bool  { return slices.Contains(c.connected, host) }
func (c *connections) Acknowledged(int64) []string { return []string{"host1"} }
func (c *connections) Hosts() (out []distribute.HostStatus) {
	for _, host := range c.connected {
		out = append(out, distribute.HostStatus{
			Host: host, Connected: true, Desired: 9, Acknowledged: 7, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		})
	}
	return out
}

func startStage(t *testing.T) *stage {
	t.Helper()
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	log := logrus.NewEntry(quiet)
	store := memory.New()
	t.Cleanup(func() { _ = store.Close() })
	revision, err := store.Commit(t.Context(), objdb.Txn{Then: []objdb.Op{objdb.Put("lead", nil)}})
	if err != nil {
		t.Fatal(err)
	}
	fence := func() (objdb.Compare, bool) { return objdb.Unchanged("lead", revision), true }
	book, err := ledger.Open(t.Context(), store, fence, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(book.Close)
	agents := new(connections)
	own := objects.New(book, objects.Options{AddressRest: time.Minute}, log)
	own.SetAgents(agents)
	if _, err := own.Seed(t.Context(), &state.Global{FwdMode: state.ForwardBridge}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api.Handler(api.Options{
		Reader: book, Changes: api.ChangesOf(own), Agents: agents, Cluster: nobody{}, Mode: "docker", Log: log,
	}))
	t.Cleanup(server.Close)
	t.Setenv("NETMASTER", server.URL)
	t.Setenv("HOME", t.TempDir())
	return &stage{t: t, objects: own, url: server.URL, agents: agents}
}

// instant is the time of now in an answer.
var instant = regexp.MustCompile(`20[0-9-]{8}T[0-9:]{8}\.[0-9]+Z`)

// play runs a script and returns it with the output there is now.
func (s *stage) play(script string) string {
	s.t.Helper()
	var out strings.Builder
	for line := range strings.Lines(script) {
		switch {
		case strings.HasPrefix(line, "$ netctl"):
			out.WriteString(line)
			output, status := s.netctl(words(strings.TrimSpace(line[2:]))...)
			output = versions.ReplaceAllString(output, "")
			output = strings.NewReplacer(s.url, "http://NETMASTER", version.Get().String(), "VERSION LINES").Replace(output)
			out.WriteString(instant.ReplaceAllString(output, "TIME"))
			if status != 0 {
				fmt.Fprintf(&out, "[exit %d]\n", status)
			}
			out.WriteString("\n")
		case strings.HasPrefix(line, "+ endpoint "):
			out.WriteString(line + "\n")
			s.plug(strings.Fields(line)[2:])
		case strings.HasPrefix(line, "+ connected "):
			out.WriteString(line + "\n")
			s.agents.connected = append(s.agents.connected, strings.Fields(line)[2])
		case strings.HasPrefix(line, "+ registers "):
			out.WriteString(line + "\n")
			if _, err := s.objects.RegisterHost(s.t.Context(), registration(strings.Fields(line)[2])); err != nil {
				s.t.Fatal(err)
			}
		case strings.HasPrefix(line, "#"):
			out.WriteString(line)
		}
	}
	return out.String()
}

// versions are the members of objects that are other numbers each time.
var versions = regexp.MustCompile(`\n *"resourceVersion": "\d+",`)

// words splits a command line as a shell does; what is in double quotes stays together.
func words(line string) []string {
	var out []string
	var word strings.Builder
	inWord, quoted := false, false
	for _, r := range line {
		switch {
		case r == '"':
			inWord, quoted = true, !quoted
		case r == ' ' && !quoted:
			if inWord {
				out = append(out, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		out = append(out, word.String())
	}
	return out
}

// netctl runs a command with output and errors in one stream, as on a terminal.
func (s *stage) netctl(args ...string) (string, int) {
	s.t.Helper()
	var out bytes.Buffer
	p := s.program
	if p == nil {
		p = &program{resolves: func(context.Context, string) bool { return false }}
	}
	p.stdout, p.stderr = &out, &out
	status := p.run(s.t.Context(), args)
	return out.String(), status
}

func registration(host string) *protocol.RegisterRequest {
	return &protocol.RegisterRequest{Host: host, MTU: 1500, Build: "1.0.0"}
}

func (s *stage) plug(what []string) {
	s.t.Helper()
	ctx := s.t.Context()
	if !slices.Contains(s.hosts, what[0]) {
		s.hosts = append(s.hosts, what[0])
		if _, err := s.objects.RegisterHost(ctx, registration(what[0])); err != nil {
			s.t.Fatal(err)
		}
	}
	_, _, err := s.objects.CreateEndpoint(ctx, &protocol.CreateEndpointRequest{
		ID:     protocol.EndpointID{Host: what[0], ContainerID: what[1], IfName: "eth0"},
		Tenant: what[2], Network: what[3], Groups: what[4:], ContainerName: "web-" + what[1],
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
