package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestTutorialPage runs every command of docs/tutorial.md in one shell, as a reader would; each must succeed.
func TestTutorialPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := consoleCommands(string(page))
	if len(commands) < 20 {
		t.Fatalf("only %d commands found on the page", len(commands))
	}
	name := fmt.Sprintf("page-%d", os.Getpid())
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
	for _, word := range []string{"no answer: 10.1.2.3", "active endpoints", "cannot be deleted: it has 1", "conflicts with subnet"} {
		if !strings.Contains(output.String(), word) {
			t.Errorf("%q is missing from what the page's commands print:\n%s", word, output.String())
		}
	}
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
