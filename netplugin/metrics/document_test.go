package metrics

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// TestDocumentNamesEveryMetric: docs/operations.md has every metric, and no other.
func TestDocumentNamesEveryMetric(t *testing.T) {
	m := New()
	m.Follow(nil)
	m.FollowNames(nil, nil)
	descs := make(chan *prometheus.Desc, 1000)
	m.registry.Describe(descs)
	close(descs)
	var registered []string
	name := regexp.MustCompile(`fqName: "(` + prefix + `[a-z_]+)"`)
	for d := range descs {
		if found := name.FindStringSubmatch(d.String()); found != nil {
			registered = append(registered, found[1])
		}
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	row := regexp.MustCompile("(?m)^\\| (`" + prefix + ".*?) \\|")
	for _, cell := range row.FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, regexp.MustCompile(prefix+"[a-z_]+").FindAllString(cell[1], -1)...)
	}
	slices.Sort(registered)
	slices.Sort(documented)
	if diff := cmp.Diff(registered, documented); diff != "" {
		t.Errorf("docs/operations.md (-registered +documented):\n%s", diff)
	}
}
