package linear

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// hostName is the host of all endpoints.
const hostName = "host0"

// requestTime is longer than a netmaster is paused: what it answers afterwards counts.
const requestTime = 9 * time.Second

// client does operations on the netmasters, any of them, and records what it was answered.
type client struct {
	id      int
	rnd     *rand.Rand
	http    *http.Client
	urls    []string
	stale   bool // reads what is at hand, however old
	history *history
	fail    func(format string, args ...any)
}

// answer is what came back of a request.
type answer struct {
	status  int
	body    []byte
	unknown bool // it may have been done
	undone  bool // it was certainly not done, for no reason of its own
}

func (c *client) do(ctx context.Context, method, path string, body any) answer {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			panic(err) // of strings and numbers
		}
		content = bytes.NewReader(text)
	}
	if c.stale && method == http.MethodGet {
		path += "?consistency=cache"
	}
	request, err := http.NewRequestWithContext(ctx, method, oneOf(c.rnd, c.urls)+path, content)
	if err != nil {
		panic(err) // of constants
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		dial := (*net.OpError)(nil)
		undone := errors.As(err, &dial) && dial.Op == "dial"
		return answer{unknown: !undone, undone: undone}
	}
	defer func() { _ = response.Body.Close() }()
	out := answer{status: response.StatusCode}
	if out.body, err = io.ReadAll(response.Body); err != nil {
		return answer{unknown: true}
	}
	if out.status == http.StatusServiceUnavailable {
		out.undone = strings.Contains(string(out.body), "no netmaster leads")
		out.unknown = !out.undone
	}
	if out.status == http.StatusInternalServerError {
		c.fail("%s %s: %s", method, path, out.body)
	}
	return out
}

// run does random operations until the context ends, and no request is cut off by that.
func (c *client) run(ctx context.Context, tenants []string) {
	for ctx.Err() == nil {
		// While nobody serves, more operations would only make more unknown answers.
		for served := c.step(context.WithoutCancel(ctx), tenants); !served && ctx.Err() == nil; {
			wait(ctx, 50*time.Millisecond)
			served = c.do(ctx, http.MethodPut, "/api/v1/tenants/probe/", map[string]string{"tenantName": "probe"}).status == http.StatusOK
		}
	}
}

func (c *client) step(ctx context.Context, tenants []string) (served bool) {
	in := input{partition: oneOf(c.rnd, tenants), slot: slot(c.rnd.IntN(int(bgp0)))}
	if c.rnd.IntN(12) == 0 {
		in.slot = bgp0 + slot(c.rnd.IntN(3))
		in.partition = map[slot]string{bgp0: fmt.Sprint("h", c.rnd.IntN(2)), aciGw0: "aciGw", global0: "global"}[in.slot]
	}
	switch n := c.rnd.IntN(20); {
	case n < 9:
		in.verb = put
	case n < 12:
		in.verb = remove
	case n < 15:
		in.verb = get
	case n < 18:
		in.verb = inspect
	case n < 19:
		in.verb = label
	default:
		in.verb = list
	}
	if in.slot == tenantSlot && in.verb == remove && c.rnd.IntN(2) == 0 {
		in.verb = get // else there is seldom a tenant
	}
	if in.slot.isEndpoint() {
		return c.endpoint(ctx, in)
	}
	if in.verb == label {
		in.verb = get
	}
	return c.object(ctx, in, tenants)
}

func (c *client) object(ctx context.Context, in input, tenants []string) bool {
	collection, _ := in.slot.collection()
	path := "/api/v1/" + collection + "/" + in.slot.key(in.partition) + "/"
	switch in.verb {
	case put:
		in.value = oneOf(c.rnd, in.slot.values())
		if in.slot == global0 && c.rnd.IntN(2) == 0 {
			in.value |= globalOnlyARP
		}
		method := oneOf(c.rnd, []string{http.MethodPut, http.MethodPost})
		return c.write(in, func() answer { return c.do(ctx, method, path, fields(in.slot, in.partition, in.value)) }, nil)
	case remove:
		return c.write(in, func() answer { return c.do(ctx, http.MethodDelete, path, nil) }, nil)
	case list:
		return c.list(ctx, in.slot, tenants)
	case inspect:
		path = "/api/v1/inspect/" + collection + "/" + in.slot.key(in.partition) + "/"
	case get, label:
	}
	return c.read(in, func() answer { return c.do(ctx, http.MethodGet, path, nil) }, func(body []byte) (seen, error) {
		return decode(in, body)
	})
}

// write records a request that changes something.
func (c *client) write(in input, send func() answer, address func([]byte) (uint32, error)) bool {
	called := c.history.now()
	got := send()
	if got.undone {
		return false
	}
	out := output{status: got.status, unknown: got.unknown}
	if in.verb == put && got.status == http.StatusConflict && strings.Contains(string(got.body), "was stored and deleted again") {
		out.status = http.StatusOK
	}
	if out.status == http.StatusOK && address != nil {
		var err error
		if out.address, err = address(got.body); err != nil {
			c.fail("%s: %v: %s", describe(in, out), err, got.body)
		}
	}
	c.history.add(c.id, in, out, called)
	return !got.unknown
}

// read records a request that changes nothing; one without an answer says nothing.
func (c *client) read(in input, send func() answer, decode func([]byte) (seen, error)) bool {
	called := c.history.now()
	got := send()
	if got.undone || got.unknown {
		return false
	}
	out := output{status: got.status}
	if got.status == http.StatusOK {
		is, err := decode(got.body)
		if err != nil {
			c.fail("%s: %v: %s", describe(in, out), err, got.body)
		}
		out.objects = map[slot]seen{in.slot: is}
	}
	c.history.add(c.id, in, out, called)
	return true
}

// list records a list of all objects of a type as one operation in each partition that has such objects.
func (c *client) list(ctx context.Context, s slot, tenants []string) bool {
	collection, _ := s.collection()
	called := c.history.now()
	got := c.do(ctx, http.MethodGet, "/api/v1/"+collection+"/", nil)
	if got.undone || got.unknown {
		return false
	}
	var all []json.RawMessage
	if err := json.Unmarshal(got.body, &all); got.status != http.StatusOK || err != nil {
		c.fail("list of %s: %d %s", collection, got.status, got.body)
		return true
	}
	partitions := tenants
	switch s {
	case bgp0:
		partitions = []string{"h0", "h1"}
	case aciGw0:
		partitions = []string{"aciGw"}
	case global0:
		partitions = []string{"global"}
	default:
	}
	for _, partition := range partitions {
		out := output{status: got.status, objects: map[slot]seen{}}
		for _, one := range all {
			s, is, mine := listed(collection, partition, one)
			if _, twice := out.objects[s]; mine && twice {
				c.fail("list of %s has %s twice", collection, s.key(partition))
			} else if mine {
				out.objects[s] = is
			}
		}
		c.history.add(c.id, input{verb: list, partition: partition, slot: s}, out, called)
	}
	return true
}

func (c *client) endpoint(ctx context.Context, in input) bool {
	network, container := fmt.Sprint("n", in.slot.network()), in.slot.containerID(in.partition)
	switch in.verb {
	case put:
		group := ""
		if g := c.rnd.IntN(3); g > 0 {
			group, in.value = fmt.Sprint("g", g-1), uint32(g)*endpointGroup1
		}
		return c.write(in, func() answer {
			return c.do(ctx, http.MethodPost, "/plugin/createEndpoint", map[string]any{
				"TenantName": in.partition, "NetworkName": network, "EndpointID": container,
				"ConfigEP": map[string]string{"Container": container, "Host": hostName, "ServiceName": group},
			})
		}, func(body []byte) (uint32, error) {
			var made struct{ EndpointConfig struct{ IPAddress string } }
			if err := json.Unmarshal(body, &made); err != nil {
				return 0, err
			}
			return lowHalf(made.EndpointConfig.IPAddress)
		})
	case remove:
		return c.write(in, func() answer {
			return c.do(ctx, http.MethodPost, "/plugin/deleteEndpoint",
				map[string]string{"TenantName": in.partition, "NetworkName": network, "EndpointID": container})
		}, nil)
	case label:
		return c.write(in, func() answer {
			return c.do(ctx, http.MethodPost, "/plugin/updateEndpoint", map[string]any{
				"Tenant": in.partition, "Network": network, "EndpointID": container, "ContainerID": container, "Event": "start",
				"Labels": map[string]string{"app": "y"},
			})
		}, nil)
	case get, inspect, list:
	}
	in.verb = inspect
	return c.read(in, func() answer {
		return c.do(ctx, http.MethodGet, "/api/v1/inspect/endpoints/"+in.slot.key(in.partition)+"/", nil)
	}, func(body []byte) (seen, error) {
		var is struct{ Oper endpointOper }
		if err := json.Unmarshal(body, &is); err != nil {
			return seen{}, err
		}
		s, v, err := is.Oper.decode(in.partition)
		if err == nil && s != in.slot {
			err = fmt.Errorf("that is %s", s.key(in.partition))
		}
		return seen{value: v}, err
	})
}

func lowHalf(text string) (uint32, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return 0, fmt.Errorf("%q is no address of ours", text)
	}
	b := a.As4()
	return uint32(b[2])<<8 | uint32(b[3]), nil
}

// endpointOper is an endpoint as inspections show it.
type endpointOper struct {
	ContainerID, Network, ServiceName, Labels string
	IPAddress                                 []string
}

func (e *endpointOper) decode(partition string) (slot, uint32, error) {
	for s := endpoint0; s < bgp0; s++ {
		if e.ContainerID != s.containerID(partition) || e.Network != fmt.Sprintf("n%d.%s", s.network(), partition) || len(e.IPAddress) != 2 {
			continue
		}
		group, known := map[string]uint32{"": 0, "g0": endpointGroup1, "g1": 2 * endpointGroup1}[e.ServiceName]
		labels, both := map[string]uint32{"map[]": 0, "map[app:y]": endpointLabels}[e.Labels]
		address, err := lowHalf(e.IPAddress[0])
		if !known || !both || err != nil {
			break
		}
		return s, endpointThere | group | labels | address, nil
	}
	return 0, 0, fmt.Errorf("endpoint %+v is none of ours", *e)
}
