package sandbox

import (
	"fmt"
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	stat := func(command, state string, threads int) string {
		return fmt.Sprintf("42 (%s) %s 1 42 42 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 %d 0 12345 100 200", command, state, threads)
	}
	for _, c := range []struct {
		name, stat string
		there      bool
	}{
		{"running", stat("netmaster", "R", 9), true},
		{"odd name", stat("a) Z (b", "S", 1), true},
		{"zombie", stat("netmaster", "Z", 1), false},
		{"dead", stat("netmaster", "X", 0), false},
		{"killed, threads still there", stat("netmaster", "Z", 4), true},
		{"nonsense", "42 (x", false},
		{"cut short", "42 (x) S 1 2", false},
		{"empty", "", false},
	} {
		started, there := parseStat(c.stat)
		if there != c.there || there && started != 12345 {
			t.Errorf("%s: started %d, there %v", c.name, started, there)
		}
	}
	if _, there := startTime(os.Getpid()); !there {
		t.Error("this process is taken for gone")
	}
}
