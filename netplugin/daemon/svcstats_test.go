package daemon

import (
	"net/netip"
	"testing"

	"github.com/contiv/contiv/ofnet/protocol"
)

func testServices() map[string]*protocol.Service {
	return map[string]*protocol.Service{"blue:web": {
		Tenant: "blue", Name: "web", VIP: netip.MustParseAddr("10.1.0.200"), VIP6: netip.MustParseAddr("fd01::200"),
		Ports: []protocol.ServicePort{{Protocol: 6, Port: 80, ProviderPort: 8080}},
	}}
}

func testServed() []protocol.ServiceCounters {
	return []protocol.ServiceCounters{{
		Service: "blue:web", Client: netip.MustParseAddr("10.1.0.1"), Provider: netip.MustParseAddr("10.1.0.3"),
		PacketsIn: 1, BytesIn: 100, PacketsOut: 2, BytesOut: 200,
	}}
}

// svcStatsJSON is what clients of the original read.
const svcStatsJSON = `{
  "10.1.0.1": {
    "EndpointIP": "10.1.0.1",
    "VrfName": "blue",
    "PortStats": {
      "PacketsIn": 1,
      "BytesIn": 100,
      "PacketsOut": 2,
      "BytesOut": 200
    },
    "SvcStats": {
      "10.1.0.200": {
        "ServiceIP": "10.1.0.200",
        "ServiceVRF": "blue",
        "Protocol": "TCP",
        "SvcPort": "80",
        "ProvPort": "8080",
        "SvcStats": {
          "PacketsIn": 1,
          "BytesIn": 100,
          "PacketsOut": 2,
          "BytesOut": 200
        },
        "ProvStats": {
          "10.1.0.3": {
            "ProviderIP": "10.1.0.3",
            "ServiceIP": "10.1.0.200",
            "ServiceVrf": "blue",
            "PacketsIn": 1,
            "BytesIn": 100,
            "PacketsOut": 2,
            "BytesOut": 200
          }
        }
      }
    }
  }
}`

// TestSvcStats: sums over providers, and clients of two tenants with one address.
func TestSvcStats(t *testing.T) {
	more := testServed()[0]
	more.Provider = netip.MustParseAddr("10.1.0.4")
	red := testServed()[0]
	red.Service = "red:web"
	six := testServed()[0]
	six.Client, six.Provider = netip.MustParseAddr("fd01::1"), netip.MustParseAddr("fd01::3")
	got := svcStats(append(testServed(), more, red, six), testServices())
	if len(got) != 3 || got["10.1.0.1"].PortStats.PacketsIn != 2 || len(got["10.1.0.1"].SvcStats["10.1.0.200"].ProvStats) != 2 {
		t.Errorf("%+v", got)
	}
	if other := got["red/10.1.0.1"]; other == nil || other.VrfName != "red" || other.SvcStats["red:web"].SvcStats.BytesOut != 200 {
		t.Errorf("%+v", other)
	}
	if got["fd01::1"].SvcStats["fd01::200"] == nil {
		t.Errorf("%+v", got["fd01::1"])
	}
}
