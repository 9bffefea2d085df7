package netctl

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCompletion(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"po", "policy"},
		{"net", "netprofile network"},
		{"policy r", "rm rule-add rule-ls rule-rm"},
		{"--netmaster http://h:1 global ", "info inspect set"},
		{"--netmaster=http://h:1 global i", "info inspect"},
		{"net create --sub", "--subnet --subnetv6"},
		{"net create n --gate", "--gateway --gatewayv6"},
		{"net create n -s ", ""},
		{"net create -t blue ", ""},
		{"group -", "--help"},
		{"completion ", ""},
		{"nothing ", ""},
		{"--ins", "--insecure"},
	} {
		var out bytes.Buffer
		p := &program{stdout: &out, stderr: &out}
		words := append([]string{"netctl", completeCommand, "--"}, strings.Split(tc.line, " ")...)
		status := p.run(t.Context(), words)
		if got := strings.Join(strings.Fields(out.String()), " "); status != 0 || got != tc.want {
			t.Errorf("%q: %q, exit %d; want %q", tc.line, got, status, tc.want)
		}
	}
}

// TestCompletionInBash runs the script in a real shell.
func TestCompletionInBash(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "netctl"), "../cmd/netctl")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building netctl: %v %s", err, output)
	}
	for line, want := range map[string][]string{
		"netctl pol":            {"policy"},
		"netctl policy rule-":   {"rule-add", "rule-ls", "rule-rm"},
		"netctl net create --s": {"--subnet", "--subnetv6"},
	} {
		words := strings.Fields(line)
		script := `source <(netctl completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _netctl; printf '%s\n' "${COMPREPLY[@]}"`
		shell := exec.Command("bash", append([]string{"-c", script, "bash"}, words...)...)
		shell.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		output, err := shell.CombinedOutput()
		if got := strings.Fields(string(output)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", line, got, err, want)
		}
	}
}
