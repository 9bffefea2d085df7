// Package docs tests what the pages in docs/ say, as far as that needs no cluster; test/e2e runs their commands.
package docs

import (
	"bytes"
	"context"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/contiv/contiv/netctl"
)

const root = "../.."

var update = flag.Bool("update", false, "write the generated parts of the pages anew")

// pages are all pages for users and developers, by path from the root of the tree.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, file := range append(files, root+"/README.md", root+"/CONTRIBUTING.md", root+"/CHANGELOG.md") {
		found[strings.TrimPrefix(file, root+"/")] = read(t, file)
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const (
	beginMark = "<!-- begin of the reference -->\n"
	endMark   = "<!-- end of the reference -->\n"
)

// TestNetctlReference compares the reference in docs/netctl.md with what netctl prints.
func TestNetctlReference(t *testing.T) {
	file := root + "/docs/netctl.md"
	page := read(t, file)
	before, rest, hasBegin := strings.Cut(page, beginMark)
	have, after, hasEnd := strings.Cut(rest, endMark)
	if !hasBegin || !hasEnd {
		t.Fatalf("%s lacks %q or %q", file, beginMark, endMark)
	}
	var want strings.Builder
	describe(t, &want)
	if *update {
		if err := os.WriteFile(file, []byte(before+beginMark+want.String()+endMark+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want.String() {
		t.Error("the reference in docs/netctl.md is not what netctl prints; run: go test ./test/docs -update")
	}
}

// listed is a line of a COMMANDS section.
var listed = regexp.MustCompile(`(?m)^   ([a-z-]+)(?:, [a-z-]+)*  +\S`)

// describe writes the help of a command and of those below it.
func describe(t *testing.T, to *strings.Builder, command ...string) {
	t.Helper()
	var help, problems bytes.Buffer
	if status := netctl.Run(context.Background(), append(append([]string{"netctl"}, command...), "--help"), &help, &problems); status != 0 {
		t.Fatalf("netctl %v --help: exit %d: %s", command, status, problems.String())
	}
	to.WriteString("### " + strings.Join(append([]string{"netctl"}, command...), " ") + "\n\n```\n")
	for line := range strings.Lines(help.String()) {
		to.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	to.WriteString("```\n\n")
	_, commands, _ := strings.Cut(help.String(), "COMMANDS:\n")
	commands, _, _ = strings.Cut(commands, "\n\n")
	for _, match := range listed.FindAllStringSubmatch(commands, -1) {
		if match[1] != "help" {
			describe(t, to, append(command[:len(command):len(command)], match[1])...)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)\s]*)?\)`)

// TestLinks: what a page links to in the tree is there.
func TestLinks(t *testing.T) {
	for name, page := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(page, -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), match[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, match[1], err)
			}
		}
	}
}

var testName = regexp.MustCompile("`(?:([a-z/0-9]+)\\.)?((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`")

// TestNamedTests: a test that a page names, alone or behind its folder, exists.
func TestNamedTests(t *testing.T) {
	folders := map[string][]string{} // where a test is
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, match := range declared.FindAllStringSubmatch(string(data), -1) {
			folder := strings.TrimPrefix(filepath.Dir(path), root+"/")
			folders[match[1]] = append(folders[match[1]], folder)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range pages(t) {
		for _, match := range testName.FindAllStringSubmatch(page, -1) {
			found := false
			for _, folder := range folders[match[2]] {
				found = found || match[1] == "" || match[1] == folder
			}
			if !found {
				t.Errorf("%s names the test %s, which is in %q", name, match[0], folders[match[2]])
			}
		}
	}
}
