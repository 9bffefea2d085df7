package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// numbered are the rows of tables that begin with a number of the reference.
var numbered = regexp.MustCompile(`(?m)^\| (K?\d+) \|(.*)$`)

// TestCompatibilityIsComplete: every number of sections 8.1 to 8.5 of the reference (1 to 55), and every thing of 8.6
// (K1 to K17), has exactly one row, which names a test or says that it comes later.
func TestCompatibilityIsComplete(t *testing.T) {
	var want, got []string
	for i := 1; i <= 55; i++ {
		want = append(want, strconv.Itoa(i))
	}
	for i := 1; i <= 17; i++ {
		want = append(want, fmt.Sprint("K", i))
	}
	for _, row := range numbered.FindAllStringSubmatch(read(t, root+"/docs/compatibility.md"), -1) {
		got = append(got, row[1])
		if !testName.MatchString(row[2]) && !strings.Contains(row[2], "later") {
			t.Errorf("row %s names no test, nor says that it comes later:%s", row[1], row[2])
		}
	}
	compareNames(t, want, got)
}

func compareNames(t *testing.T, want, got []string) {
	t.Helper()
	for _, name := range want {
		switch n := count(got, name); {
		case n == 0:
			t.Errorf("%s is missing", name)
		case n > 1:
			t.Errorf("%s is there %d times", name, n)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("nobody knows %s", name)
		}
	}
}

func count(names []string, name string) (n int) {
	for _, other := range names {
		if other == name {
			n++
		}
	}
	return n
}

// goldenSteps is how many steps each part of the golden tutorial has; 0: the part is one step.
var goldenSteps = map[string]int{
	"A": 31, "B": 17, "C1.": 13, "C2.": 6, "C3.": 10, "D": 16, "DM": 16, "E": 10,
	"F1.": 4, "F2.": 6, "F3.": 10, "F4.": 5, "F5.": 4, "F6.": 8, "F7.": 7, "F8": 0, "F9.": 8, "F10": 0, "F11": 0, "F12.": 12, "F13.": 7,
	"F14.": 5, "G": 4, "H": 6,
}

var stepNumber = regexp.MustCompile(`^(.*?)(\d+)$`)

// stepsOf expands "A1, A3-A4".
func stepsOf(t *testing.T, text string) (steps []string) {
	t.Helper()
	for _, item := range strings.Split(text, ", ") {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		from, to := stepNumber.FindStringSubmatch(first), stepNumber.FindStringSubmatch(last)
		if from == nil || to == nil || from[1] != to[1] {
			t.Errorf("%q is no range of steps", item)
			continue
		}
		begin, _ := strconv.Atoi(from[2]) // digits
		end, _ := strconv.Atoi(to[2])
		for i := begin; i <= end; i++ {
			steps = append(steps, from[1]+strconv.Itoa(i))
		}
	}
	return steps
}

// TestGoldenStepsAreListed: each step of the golden tutorial has exactly one row; steps that TestGolden shows are
// headings of its scripts.
func TestGoldenStepsAreListed(t *testing.T) {
	_, table, found := strings.Cut(read(t, root+"/docs/compatibility.md"), "## The golden tutorial, step by step")
	if !found {
		t.Fatal("there is no table of the golden tutorial")
	}
	scripts, err := filepath.Glob(root + "/test/e2e/testdata/golden/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	var headings string
	for _, name := range scripts {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		headings += "\n" + string(data)
	}
	var want, got []string
	for part, n := range goldenSteps {
		if n == 0 {
			want = append(want, part)
		}
		for i := 1; i <= n; i++ {
			want = append(want, part+strconv.Itoa(i))
		}
	}
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-H][^|]*) \|(.*)$`).FindAllStringSubmatch(table, -1) {
		steps := stepsOf(t, row[1])
		got = append(got, steps...)
		if strings.TrimSpace(row[2]) != "`test/e2e.TestGolden` |" {
			continue
		}
		for _, step := range steps {
			if !strings.Contains(headings, "\n== "+step+" ") {
				t.Errorf("step %s is in no script of TestGolden", step)
			}
		}
	}
	compareNames(t, want, got)
}
