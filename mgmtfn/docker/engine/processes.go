package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// End ends every process of an engine, given by its holder's process id: all that share the holder's mount namespace,
// and their descendants, since shims outlive their daemon, and containers, in namespaces of their own, their shim.
func End(holder int) error {
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", holder))
	if err != nil {
		return fmt.Errorf("mount namespace of process %d: %w", holder, err)
	}
	if own, err := os.Readlink("/proc/self/ns/mnt"); err != nil || own == namespace {
		return fmt.Errorf("process %d has no mount namespace of its own: nothing is killed", holder)
	}
	var victims []int
	ended := within(func() bool {
		if victims, err = inNamespace(namespace); err != nil || len(victims) == 0 {
			return true
		}
		for _, victim := range victims {
			if kill := syscall.Kill(victim, syscall.SIGKILL); kill != nil && !errors.Is(kill, syscall.ESRCH) {
				err = fmt.Errorf("ending process %d: %w", victim, kill)
				return true
			}
		}
		return false
	})
	if !ended {
		return fmt.Errorf("processes %v do not end", victims)
	}
	return err
}

// within asks until the answer is yes, or for stopTimeout at most; it answers whether it was.
func within(done func() bool) bool {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for deadline := time.Now().Add(stopTimeout); !done(); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// inNamespace lists the living processes of a mount namespace and their descendants.
func inNamespace(namespace string) ([]int, error) {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children, found := map[int][]int{}, map[int]bool{}
	var queue []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			continue
		}
		parent, dead := parentOf(entry)
		if dead {
			continue
		}
		children[parent] = append(children[parent], pid)
		if link, err := os.Readlink(entry + "/ns/mnt"); err == nil && link == namespace {
			queue = append(queue, pid)
		}
	}
	for len(queue) > 0 {
		pid := queue[0]
		queue = queue[1:]
		if !found[pid] {
			found[pid] = true
			queue = append(queue, children[pid]...)
		}
	}
	pids := make([]int, 0, len(found))
	for pid := range found {
		pids = append(pids, pid)
	}
	return pids, nil
}

// parentOf reads a process's parent, and whether it is gone or a zombie.
func parentOf(entry string) (int, bool) {
	data, err := os.ReadFile(filepath.Join(entry, "stat"))
	if err != nil {
		return 0, true
	}
	// The command, in parentheses, may hold anything; state and parent follow the last one.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 2 {
		return 0, true
	}
	parent, err := strconv.Atoi(fields[1])
	return parent, err != nil || fields[0] == "Z" || fields[0] == "X"
}
