package ovs

import (
	"fmt"
	"testing"
)

// BenchmarkPort is the driver's share of a CNI ADD and DEL.
func BenchmarkPort(b *testing.B) {
	h := newHost(b, "", 1)
	d := newDriver(b, h)
	container := nsPath(newNetNS(b, "c"))
	b.Run("prepare", func(b *testing.B) {
		for n := range b.N {
			want := testPort("h1", n+1, container)
			if _, err := d.PreparePort(b.Context(), want); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := d.RemovePort(b.Context(), want.ID); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("remove", func(b *testing.B) {
		for n := range b.N {
			b.StopTimer()
			want := testPort(fmt.Sprintf("x%d", b.N), n+1, container)
			if _, err := d.PreparePort(b.Context(), want); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if err := d.RemovePort(b.Context(), want.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
}
