package memory

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/conformance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Harness {
		t.Helper()
		first := New()
		var clients []*Store
		everyone := func(down bool) func(*testing.T) {
			return func(*testing.T) {
				for _, c := range clients {
					c.SetUnavailable(down)
				}
			}
		}
		return conformance.Harness{
			Open: func(t *testing.T) objdb.Store {
				t.Helper()
				c := first.Peer()
				clients = append(clients, c)
				t.Cleanup(func() {
					if err := c.Close(); err != nil {
						t.Error(err)
					}
				})
				return c
			},
			Compact: func(*testing.T) { first.Compact() },
			Lapse:   func(_ *testing.T, client objdb.Store) { client.(*Store).ExpireLeases() },
			Stop:    everyone(true),
			Start:   everyone(false),
		}
	})
}
