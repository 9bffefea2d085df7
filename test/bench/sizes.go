package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// How much there is for the rows of S.
const (
	manyObjects = 1000 // networks of one tenant, groups, and rules
	listedRules = 5000
	flatRules   = 2000 // in a policy of ten groups
	flatPart    = 200  // the first and the last so many are compared
	flatGroups  = 10
)

// sizeRows are about netmaster when there is much.
func sizeRows() []row {
	large, flat := &experiment{run: largeCluster}, &experiment{run: flatPolicy}
	return []row{
		{"S", "inspect of a tenant, 1 000 networks and groups", "ms", "", atMost(20), large.figure("inspect")},
		{"S", "restart with 1 000 networks, groups and rules", "s", "", atMost(0.3), large.figure("restart")},
		{"S", "memory of netmaster with these", "MB", "", nil, large.figure("memory")},
		{"S", "list of 5 000 rules", "ms", "", nil, large.figure("list")},
		{"S", "memory of netmaster with these too", "MB", "", nil, large.figure("memory with rules")},
		{"S", "2 000 rules into a policy of ten groups, time of one", "ms", "the first 200", atMost(1.2), flat.figure("time")},
		{"S", "the same, bytes written by the store for one", "kB", "the first 200", atMost(1.2), flat.figure("written")},
		{"S", "the same, growth of the store's files for one", "kB", "", nil, flat.figure("growth")},
	}
}

// each does requests 0 to count-1, some at once.
func each(count int, do func(int) error) error {
	const atOnce = 16
	errs := make([]error, atOnce)
	var clients sync.WaitGroup
	for client := range atOnce {
		clients.Go(func() {
			for i := client; i < count && errs[client] == nil; i += atOnce {
				errs[client] = do(i)
			}
		})
	}
	clients.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// largeCluster figures: "inspect" and "list" (ms), "restart" (s), "memory" and "memory with rules" (MB).
func largeCluster(ctx context.Context, b *bench) (figures, error) {
	dir, err := os.MkdirTemp("", "contiv-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	m, err := startMaster(ctx, b, filepath.Join(dir, "store"))
	if err != nil {
		return nil, err
	}
	defer m.stop()
	if err := fillLarge(ctx, m); err != nil {
		return nil, err
	}
	out := figures{}
	memory := func(name string) error {
		used, err := m.restedMemory(ctx)
		out.absolute(name, used/1e6)
		return err
	}
	timed := func(name, path string) error {
		for range b.pairs {
			begin := time.Now()
			if err := get(ctx, m.url(path)); err != nil {
				return err
			}
			out.absolute(name, time.Since(begin).Seconds()*1e3)
		}
		return nil
	}
	for range b.pairs {
		took, err := m.restarted(ctx)
		if err != nil {
			return nil, err
		}
		out.absolute("restart", took.Seconds())
	}
	if err := timed("inspect", "inspect/tenants/default/"); err != nil {
		return nil, err
	}
	if err := memory("memory"); err != nil {
		return nil, err
	}
	if err := each(listedRules-manyObjects, func(i int) error { return postRule(ctx, m, manyObjects+i) }); err != nil {
		return nil, err
	}
	if err := timed("list", "rules/"); err != nil {
		return nil, err
	}
	return out, memory("memory with rules")
}

func fillLarge(ctx context.Context, m *master) error {
	if err := post(ctx, m.url("policys/default:p/"), `{"tenantName":"default","policyName":"p"}`); err != nil {
		return err
	}
	return each(manyObjects, func(i int) error {
		network, group := fmt.Sprintf("net%d", i), fmt.Sprintf("group%d", i)
		err := post(ctx, m.url("networks/default:"+network+"/"),
			fmt.Sprintf(`{"tenantName":"default","networkName":"%s","encap":"vxlan","subnet":"10.%d.%d.0/24"}`, network, i/256, i%256))
		if err == nil {
			err = post(ctx, m.url("endpointGroups/default:"+group+"/"),
				fmt.Sprintf(`{"tenantName":"default","networkName":"%s","groupName":"%s"}`, network, group))
		}
		if err == nil {
			err = postRule(ctx, m, i)
		}
		return err
	})
}

// flatPolicy adds rules, one after the other, to a policy that groups have, each time to a new netmaster.
//
// Figures, the first part and the last: "time" (ms) and "written" (kB) of one rule; "growth" (kB).
func flatPolicy(ctx context.Context, b *bench) (figures, error) {
	out := figures{}
	for range b.pairs {
		if err := flatRound(ctx, b, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func flatRound(ctx context.Context, b *bench, out figures) error {
	dir, err := os.MkdirTemp("", "contiv-bench-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	m, err := startMaster(ctx, b, filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	defer m.stop()
	if err := post(ctx, m.url("policys/default:p/"), `{"tenantName":"default","policyName":"p"}`); err != nil {
		return err
	}
	if err := post(ctx, m.url("networks/default:n/"), networkN); err != nil {
		return err
	}
	for i := range flatGroups {
		group := fmt.Sprintf("group%d", i)
		if err := post(ctx, m.url("endpointGroups/default:"+group+"/"),
			fmt.Sprintf(`{"tenantName":"default","networkName":"n","groupName":"%s","policies":["p"]}`, group)); err != nil {
			return err
		}
	}
	if err := addRules(ctx, m, 0, flatPart/4, nil); err != nil { // to warm up
		return err
	}
	before, err := filesOf(dir)
	if err != nil {
		return err
	}
	var first, last part
	if err := addRules(ctx, m, flatPart/4, flatPart, &first); err != nil {
		return err
	}
	if err := addRules(ctx, m, flatPart/4+flatPart, flatRules-2*flatPart, nil); err != nil {
		return err
	}
	if err := addRules(ctx, m, flatPart/4+flatRules-flatPart, flatPart, &last); err != nil {
		return err
	}
	after, err := filesOf(dir)
	out.add("time", first.time, last.time)
	out.add("written", first.written, last.written)
	out.absolute("growth", (after-before)/flatRules/1e3)
	return err
}

// part is what one rule of a number of them cost.
type part struct{ time, written float64 } // ms, kB

// addRules makes rules one after the other.
func addRules(ctx context.Context, m *master, first, count int, cost *part) error {
	before, err := procValue(m.cmd.Process.Pid, "io", "write_bytes")
	if err != nil {
		return err
	}
	begin := time.Now()
	for i := range count {
		if err := postRule(ctx, m, first+i); err != nil {
			return err
		}
	}
	if cost == nil {
		return nil
	}
	cost.time = time.Since(begin).Seconds() * 1e3 / float64(count)
	after, err := procValue(m.cmd.Process.Pid, "io", "write_bytes")
	cost.written = (after - before) / float64(count) / 1e3
	return err
}

// filesOf is the disk space that the files of a directory take.
func filesOf(dir string) (float64, error) {
	total := 0.0
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		used, err := diskSpace(path)
		total += used
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measuring %s: %w", dir, err)
	}
	return total, nil
}
