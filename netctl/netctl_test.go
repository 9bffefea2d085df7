package netctl

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// answers is a server that gives one answer and remembers what it was asked.
type answers struct {
	status int
	body   string
	asked  []string // method, path, token, body
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.asked = append(a.asked, strings.TrimSpace(strings.Join([]string{r.Method, r.URL.Path, r.Header.Get("X-Auth-Token"), string(body)}, " ")))
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// run runs netctl with a home of its own that may have a token file.
func run(t *testing.T, tokenFile string, args ...string) (output string, status int) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	if tokenFile != "" {
		if err := os.Mkdir(filepath.Join(home, ".netctl"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, ".netctl", "config.json"), []byte(tokenFile), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	p := &program{stdout: &out, stderr: &out, resolves: func(context.Context, string) bool { return false }}
	status = p.run(t.Context(), append([]string{"netctl"}, args...))
	return out.String(), status
}

func TestErrorsOfTheServer(t *testing.T) {
	for _, tc := range []struct {
		status int
		body   string
		want   string
	}{
		{500, "network not found\n", "level=error msg=network not found\n"}, // of the original's netmaster
		{500, "two\nlines \"quoted\"", "level=error msg=two\nlines \"quoted\"\n"},
		{403, "", "level=error msg=403 Forbidden\n"},
		{200, "no JSON", "level=error msg=GET /api/v1/inspect/networks/default:x/: reading the answer: invalid character 'o' in literal null (expecting 'u')\n"},
	} {
		server := httptest.NewServer(&answers{status: tc.status, body: tc.body})
		got, status := run(t, "", "--netmaster", server.URL, "net", "inspect", "x")
		server.Close()
		if status != exitServer || got != tc.want {
			t.Errorf("%d %q: status %d, printed %q, want %q", tc.status, tc.body, status, got, tc.want)
		}
	}
}

func TestTokenGoesOverTLSOnly(t *testing.T) {
	record := &answers{status: 200, body: "[]"}
	plain, secure := httptest.NewServer(record), httptest.NewTLSServer(record)
	defer plain.Close()
	defer secure.Close()
	secure.Config.ErrorLog = nil

	const token = `{"token":"secret"}`
	if got, status := run(t, token, "--netmaster", plain.URL, "tenant", "ls"); status != exitServer || !strings.Contains(got, "https") || len(record.asked) > 0 {
		t.Errorf("over http: status %d, %q, asked %q", status, got, record.asked)
	}
	if got, status := run(t, token, "--netmaster", secure.URL, "tenant", "ls"); status != exitServer || !strings.Contains(got, "certificate") {
		t.Errorf("unknown certificate: status %d, %q", status, got)
	}
	if got, status := run(t, token, "--insecure", "--netmaster", secure.URL, "tenant", "ls"); status != 0 || !slices.Equal(record.asked, []string{"GET /api/v1/tenants/ secret"}) {
		t.Errorf("over https: status %d, %q, asked %q", status, got, record.asked)
	}
	t.Setenv("INSECURE", "true")
	record.asked, record.body = nil, `{"Version":"9.8.7"}`
	got, status := run(t, token, "-netmaster="+secure.URL, "version")
	if status != 0 || !strings.Contains(got, "Server Version:\nVersion: 9.8.7\n") || !slices.Equal(record.asked, []string{"GET /version"}) {
		t.Errorf("version: status %d, %q, asked %q", status, got, record.asked)
	}
	if got, status := run(t, "{", "--netmaster", secure.URL, "tenant", "ls"); status != exitLocal || !strings.Contains(got, "config.json") {
		t.Errorf("broken file: status %d, %q", status, got)
	}
}

func TestWhichNetmaster(t *testing.T) {
	for _, tc := range []struct {
		env      string
		resolves bool
		args     []string
		want     string
	}{
		{"", false, nil, fallbackURL},
		{"", true, nil, defaultURL},
		{"http://192.0.2.1:1", true, nil, "http://192.0.2.1:1"},
		{"http://192.0.2.1:1", false, []string{"--netmaster", "http://192.0.2.2:2"}, "http://192.0.2.2:2"},
	} {
		t.Setenv("NETMASTER", tc.env)
		t.Setenv("HOME", t.TempDir())
		if tc.env == "" {
			if err := os.Unsetenv("NETMASTER"); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nothing is asked; the URL is in the message
		var out bytes.Buffer
		p := &program{stdout: &out, stderr: &out, resolves: func(context.Context, string) bool { return tc.resolves }}
		p.run(ctx, append(append([]string{"netctl"}, tc.args...), "tenant", "ls"))
		if !strings.Contains(out.String(), `Get "`+tc.want+`/api`) {
			t.Errorf("%+v: %s", tc, out.String())
		}
	}
}

func TestGroupOptionsAreSent(t *testing.T) {
	record := &answers{status: 200, body: "{}"}
	server := httptest.NewServer(record)
	defer server.Close()
	got, status := run(t, "", "--netmaster", server.URL, "group", "create", "net", "-p=b,c", "grp", "-p", "a", "-n", "prof",
		"--external-contract", "x", "-t", "blue")
	if status != 0 || got != "Creating EndpointGroup blue:grp\n" || len(record.asked) != 1 {
		t.Fatalf("status %d, printed %q, asked %q", status, got, record.asked)
	}
	where, body, _ := strings.Cut(record.asked[0], "/  ")
	var sent map[string]any
	if err := json.Unmarshal([]byte(body), &sent); err != nil || where != "POST /api/v1/endpointGroups/blue:grp" {
		t.Fatalf("asked %q: %v", record.asked[0], err)
	}
	if names, _ := sent["policies"].([]any); !slices.Equal(names, []any{"b,c", "a"}) {
		t.Errorf("policies %v", sent["policies"])
	}
}

func TestFlagsFirst(t *testing.T) {
	commands := []*cli.Command{{Name: "policy", Subcommands: []*cli.Command{{
		Name: "rule-add", Aliases: []string{"ra"},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "direction", Aliases: []string{"d"}}, &cli.IntFlag{Name: "priority"}, &cli.BoolFlag{Name: "json", Aliases: []string{"j"}},
		},
	}}}}
	global := []cli.Flag{&cli.StringFlag{Name: "netmaster"}}
	for line, want := range map[string]string{
		"policy rule-add p 1 -direction=in":                  "policy rule-add -direction=in -- p 1",
		"policy rule-add p -d in 1":                          "policy rule-add -d in -- p 1", // the original made "1 p" of it
		"policy ra p -priority -5 1 -j 2":                    "policy ra -priority -5 -j -- p 1 2",
		"policy ra p -- -d in":                               "policy ra -- p -d in",
		"policy ra":                                          "policy ra",
		"policy ra p -unknown 1":                             "policy ra -unknown -- p 1",
		"policy ra p -d":                                     "policy ra -d -- p",
		"--netmaster http://x policy ra - p":                 "--netmaster http://x policy ra -- - p",
		"nonsense a -b c":                                    "nonsense a -b c",
		"policy nonsense a -b":                               "policy nonsense a -b",
		"--netmaster=http://x --help policy":                 "--netmaster=http://x --help policy",
		"-- policy":                                          "-- policy",
		"policy rule-add --direction in p --priority=3 1 --": "policy rule-add --direction in --priority=3 -- p 1",
	} {
		if got := strings.Join(flagsFirst(commands, global, strings.Fields(line)), " "); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
