package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTutorialPage runs every command of docs/tutorial.md.
func TestTutorialPage(t *testing.T) {
	runPage(t, "tutorial.md", 20, "no answer: 10.1.2.3", "active endpoints", "has 1 endpoint groups", "conflicts with subnet")
}

// TestDockerPage runs every command of docs/docker.md.
func TestDockerPage(t *testing.T) {
	runPage(t, "docker.md", 20, "0% packet loss", "10.1.2.50/24", "refused, as it should be", `"containerName": "c2"`,
		"netplugin local map[encap:vxlan pkt-tag:2 tenant:blue] map[group:web network:contiv-net tenant:blue]", "10.9.0.", "fd00:9::1/64")
}

// TestNetctlPage runs every command of docs/netctl.md.
func TestNetctlPage(t *testing.T) {
	runPage(t, "netctl.md", 20, "10.1.2.10-10.1.2.19", "10.1.3.50-10.1.3.99/24", "has 1 endpoint groups", "netctl network rm - delete a network",
		`{"key":"blue:db",`, `"availableIPAddresses":"10.1.4.1-10.1.4.254"`, `"status":404`, `"acknowledged":`)
}

// TestRESTPage runs every command of docs/rest.md.
func TestRESTPage(t *testing.T) {
	runPage(t, "rest.md", 20, `"status":404`, `"DSCP":12`, "has changed since the tag", "exists already", `rel="next"`, "cannot be chosen by",
		"event: reset", "event: synced", `"kind":"netprofile","key":"blue:gold"`)
}

// runPage runs the commands of a page of docs/ in one shell, as a reader would; each must succeed, and together they
// must print the words.
func runPage(t *testing.T, page string, atLeast int, words ...string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	commands := consoleCommands(string(text))
	if len(commands) < atLeast {
		t.Fatalf("only %d commands found on the page", len(commands))
	}
	sandboxes++
	name := fmt.Sprintf("page-%d-%d", os.Getpid(), sandboxes)
	environment := append(os.Environ(), "PATH="+binDir+":"+os.Getenv("PATH"), "CONTIV_SANDBOX="+name)
	t.Cleanup(func() {
		down := exec.Command(binDir+"/contiv-sandbox", "down")
		down.Env = environment
		if output, err := down.CombinedOutput(); err != nil {
			t.Errorf("removing the sandbox: %v %s", err, output)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-e", "-x", "-o", "pipefail", "-c", strings.Join(commands, "\n"))
	shell.Env = environment
	var output bytes.Buffer
	shell.Stdout, shell.Stderr = &output, &output
	if err := shell.Run(); err != nil {
		t.Fatalf("the page does not hold: %v\n%s", err, output.String())
	}
	for _, word := range words {
		if !strings.Contains(output.String(), word) {
			t.Errorf("%q is missing from what the page's commands print:\n%s", word, output.String())
		}
	}
}

// TestFlagsOnPages: an option that a page for operators names is one of our programs', or is listed here as another's.
func TestFlagsOnPages(t *testing.T) {
	known := " --cacert --cert --key --scope " // curl's
	sandboxHelp := help(t, "contiv-sandbox")
	known += sandboxHelp + help(t, "netmaster") + help(t, "netplugin")
	for _, command := range regexp.MustCompile(`(?m)^   ([a-z]+)  `).FindAllStringSubmatch(sandboxHelp, -1) {
		known += help(t, "contiv-sandbox", command[1])
	}
	reference, err := os.ReadFile("../../docs/netctl.md") // compared with what netctl prints
	if err != nil {
		t.Fatal(err)
	}
	known += string(reference)
	for _, name := range []string{"README.md", "docs/install.md", "docs/operations.md", "docs/tutorial.md", "docs/architecture.md", "docs/cni.md"} {
		page, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, flag := range regexp.MustCompile(`(?:^|[\s`+"`"+`(])(--[a-z][a-z0-9-]+)`).FindAllStringSubmatch(string(page), -1) {
			if !regexp.MustCompile(`[\s` + "`" + `]` + flag[1] + `[^a-z0-9-]`).MatchString(known) {
				t.Errorf("%s names %s, which no program has", name, flag[1])
			}
		}
	}
}

func help(t *testing.T, program string, command ...string) string {
	t.Helper()
	output, err := exec.Command(binDir+"/"+program, append(command, "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v --help: %v %s", program, command, err, output)
	}
	return " " + string(output)
}

// consoleCommands finds the lines after "$ " in ```console blocks.
func consoleCommands(page string) []string {
	var commands []string
	inside := false
	for _, line := range strings.Split(page, "\n") {
		switch command, ok := strings.CutPrefix(line, "$ "); {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside && ok:
			commands = append(commands, command)
		}
	}
	return commands
}
