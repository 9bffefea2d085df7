package daemon

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go collects garbage when the heap has doubled. That costs a small netmaster much time, and a large one much memory.
// Here the heap grows by a fixed room instead, within bounds.
const (
	heapRoom     = 64 << 20 // bytes
	mostGrowth   = 400      // percent of what is alive
	startGrowth  = 100      // at least, while the store is read and the agents come
	leastGrowth  = 30       // at least, afterwards
	startTime    = 20 * time.Second
	collectCheck = 200 * time.Millisecond
)

// growthOf is by how many percent of what is alive the heap may grow.
func growthOf(alive uint64, least int) int {
	if alive == 0 {
		return mostGrowth
	}
	return min(max(int(min(heapRoom*100/alive, mostGrowth)), least), mostGrowth) //nolint:gosec // 400 at most
}

// collect keeps the garbage collector set until the context ends, unless GOGC in the environment says how it shall be.
func collect(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	ticker := time.NewTicker(collectCheck)
	defer ticker.Stop()
	begin, set, started := time.Now(), 0, false
	for {
		metrics.Read(alive)
		least := leastGrowth
		if time.Since(begin) < startTime {
			least = startGrowth
		} else if !started {
			started = true
			debug.FreeOSMemory() // what the start took
		}
		// Setting it stops everything for a moment: not for small differences.
		if want := growthOf(alive[0].Value.Uint64(), least); want*10 < set*9 || want*9 > set*10 {
			debug.SetGCPercent(want)
			set = want
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
