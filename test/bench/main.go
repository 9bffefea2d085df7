// Command bench measures the budgets of docs/performance.md and prints them as a table: denominator, ours, ratio and
// its 95 % interval. A ratio is the median of interleaved pairs; a budget is missed only when the whole interval lies
// beyond it. It needs root and the packages of "make deps", and takes some minutes.
//
//	go run ./test/bench [-only P1,P5,"rule create"] [-pairs 9] [-bin bin]
//	go run ./test/bench -only P8 [-agents 1000]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// row of the table.
type row struct {
	id, what, unit, denominator string
	budget                      *budget // nil: reported, never a gate
	// measure gives interleaved pairs; without a denominator that of each pair is 0.
	measure func(context.Context, *bench) ([]pair, error)
}

// bench is what every measurement may use.
type bench struct {
	pairs  int
	agents int // of P8
	binDir string
	cniDir string // reference CNI plugins
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	only := flag.String("only", "", "comma-separated `ROWS`: numbers such as P1, or parts of what is measured such as \"rule create\"; "+
		"empty: all but those of P8")
	agents := flag.Int("agents", 1000, "`NUMBER` of simulated agents of P8")
	pairs := flag.Int("pairs", 9, "`NUMBER` of pairs per ratio")
	binDir := flag.String("bin", "bin", "`DIRECTORY` of the binaries")
	bare := flag.String("bare", "", "serve the denominator of P6 for transactions of this `SHAPE` (used by bench itself)")
	bareDir := flag.String("dir", "", "with -bare: `DIRECTORY` of its store")
	flag.Parse()
	if *bare != "" {
		return serveBare(ctx, *bare, *bareDir)
	}
	dir, err := filepath.Abs(*binDir)
	if err != nil {
		return fmt.Errorf("directory of the binaries: %w", err)
	}
	b := &bench{pairs: *pairs, agents: *agents, binDir: dir, cniDir: os.Getenv("CONTIV_CNI_BIN")}
	table := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "#\twhat\tdenominator\t\tours\tunit\tratio\t95 %\tbudget\t")
	for _, r := range rows() {
		if !wanted(*only, &r) {
			continue
		}
		begin := time.Now()
		fmt.Fprintf(os.Stderr, "%s: %s ...\n", r.id, r.what)
		measured, err := r.measure(ctx, b)
		if err != nil {
			_ = table.Flush() // what there is
			return fmt.Errorf("%s (%s): %w", r.id, r.what, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %s took %.0fs\n", r.id, r.what, time.Since(begin).Seconds())
		fmt.Fprintln(table, line(r, summarise(measured)))
	}
	return table.Flush()
}

// large are rows that are measured only if they are asked for: they take minutes and gigabytes.
const large = "P8"

func wanted(only string, r *row) bool {
	if only == "" {
		return r.id != large
	}
	for one := range strings.SplitSeq(only, ",") {
		if one = strings.TrimSpace(one); one == r.id || one != "" && strings.Contains(r.what, one) {
			return true
		}
	}
	return false
}

func line(r row, s summary) string {
	bound, verdict := "-", "reported"
	if r.budget != nil {
		bound, verdict = r.budget.String(), r.budget.verdict(s)
	}
	if r.denominator == "" {
		return fmt.Sprintf("%s\t%s\t-\t\t%.4g\t%s\t\t\t%s\t%s", r.id, r.what, s.ours, r.unit, bound, verdict)
	}
	return fmt.Sprintf("%s\t%s\t%s\t%.4g\t%.4g\t%s\t%.2f\t%.2f..%.2f\t%s\t%s",
		r.id, r.what, r.denominator, s.denominator, s.ours, r.unit, s.ratio, s.low, s.high, bound, verdict)
}

func atLeast(bound float64) *budget { return &budget{bound, true} }
func atMost(bound float64) *budget  { return &budget{bound, false} }
