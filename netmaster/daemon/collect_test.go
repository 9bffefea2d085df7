package daemon

import "testing"

func TestGrowthOf(t *testing.T) {
	for alive, want := range map[uint64]int{0: 400, 1 << 20: 400, 32 << 20: 200, 64 << 20: 100, 128 << 20: 50, 1 << 30: 30, 1 << 40: 30} {
		if got := growthOf(alive, leastGrowth); got != want {
			t.Errorf("with %d bytes alive the heap may grow by %d %%, want %d", alive, got, want)
		}
	}
}
