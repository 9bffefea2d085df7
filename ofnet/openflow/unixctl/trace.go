package unixctl

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Options of a trace. The zero value traces a packet whose connections are all new.
type Options struct {
	// CTNext are the states of the connection after each pass through conntrack, in order: "trk,est". Where there is
	// none, it is "trk,new".
	CTNext []string
	// Hash is the packet's hash where the switch selects a bucket of a group by one, 0 for 1.
	Hash uint32
}

// Step is a flow that the packet met.
type Step struct {
	Table    uint8
	Miss     bool   // there was no flow; then what follows is empty
	Match    string // as ovs-ofctl writes it
	Priority uint16
	Cookie   uint64
}

// Pass is the way of the packet from where it came in, or came back from conntrack or a hash, to the next such place.
type Pass struct {
	Recirc  uint32 // number of where it came back from, 0 for the first pass
	CTState string // with which it came back from conntrack: "new|trk"
	Flow    string // the packet at the begin, as ovs-ofctl writes flows
	Final   string // and at the end
	Steps   []Step
	Actions string // what the datapath does: "ct(zone=5),recirc(0x1)", "drop", "2"
}

// Trace is what the switch would do to a packet.
type Trace struct {
	Passes []Pass
	Text   string // as the switch wrote it
}

// Last is the pass that ended the packet's way.
func (t *Trace) Last() *Pass { return &t.Passes[len(t.Passes)-1] }

// Steps are all flows that the packet met, in order.
func (t *Trace) Steps() []Step {
	var all []Step
	for _, p := range t.Passes {
		all = append(all, p.Steps...)
	}
	return all
}

// Outputs are the datapath's actions of all passes that do more than to send the packet on to the next one, without
// "drop". Of a packet that is dropped there are none.
func (t *Trace) Outputs() []string {
	var out []string
	for _, p := range t.Passes {
		if p.Actions != "drop" && !recircOnly.MatchString(p.Actions) {
			out = append(out, p.Actions)
		}
	}
	return out
}

// maxHashes is how often one packet may be hashed: a group may lead to another.
const maxHashes = 8

// Trace asks what a bridge would do to a packet, which is written as ovs-ofctl writes a flow, with values for all fields
// that matter. What is not given of it is zero. A packet on which the switch gives up is an error. The switch's own trace ends where a packet comes back with a hash, to
// choose a bucket; this one goes on.
func (c *Client) Trace(ctx context.Context, bridge, flow string, opts Options) (*Trace, error) {
	if opts.Hash == 0 {
		opts.Hash = 1
	}
	for try := 1; ; try++ {
		t, err := c.traceOnce(ctx, bridge, flow, opts)
		if !errors.Is(err, errForgotten) || try == 3 {
			return t, err
		}
	}
}

// errForgotten is a place to come back to that the switch no longer knew: it keeps them for a quarter of a second at
// least after its own trace ended.
var errForgotten = errors.New("the switch forgot where the packet goes on")

func (c *Client) traceOnce(ctx context.Context, bridge, flow string, opts Options) (*Trace, error) {
	t := &Trace{}
	next := opts.CTNext
	for range maxHashes {
		args := []string{bridge, flow}
		for _, state := range next {
			args = append(args, "--ct-next", state)
		}
		text, err := c.Call(ctx, "ofproto/trace", args...)
		if err != nil {
			return nil, err
		}
		passes, err := parseTrace(text)
		if err != nil {
			return nil, fmt.Errorf("reading the trace of %s: %w\n%s", flow, err, text)
		}
		t.Text += text
		if len(t.Passes) > 0 {
			passes[0].Recirc = t.Last().hashed()
		}
		t.Passes = append(t.Passes, passes...)
		for _, p := range passes {
			if p.CTState != "" && len(next) > 0 {
				next = next[1:]
			}
		}
		id := t.Last().hashed()
		if id == 0 {
			return t, nil
		}
		flow = fmt.Sprintf("recirc_id=%#x,dp_hash=%#x,%s", id, opts.Hash, withoutRecirc(t.Last().Final))
	}
	return nil, fmt.Errorf("trace: more than %d hashes in one packet's way:\n%s", maxHashes, t.Text)
}

var (
	stepLine    = regexp.MustCompile(`^ *(\d{1,3})\. (.*)$`)
	stepTail    = regexp.MustCompile(`^(?:(.*), )?priority (\d{1,5})(?:, cookie 0x([0-9a-f]{1,16}))?$`)
	recircLine  = regexp.MustCompile(`^recirc\(0x([0-9a-f]{1,8})\)(?: - resume conntrack with (?:default )?ct_state=(\S+))?`)
	recircOnly  = regexp.MustCompile(`^(?:ct_clear,)?(?:ct\(.*\)|hash\(.*\)),recirc\(0x[0-9a-f]+\)$`)
	hashedTail  = regexp.MustCompile(`(?:^|,)hash\([^,]*\),recirc\(0x([0-9a-f]{1,8})\)$`)
	sctpWord    = regexp.MustCompile(`(?:^|,)sctp6?(?:,|$)`)
	recircField = regexp.MustCompile(`\b(?:recirc_id=\w+|dp_hash=\w+|eth)(?:,|$)`)
)

// withoutRecirc is a packet without the place that it came back from, and without a word that the switch writes but does
// not read.
func withoutRecirc(flow string) string {
	flow = recircField.ReplaceAllString(flow, "")
	if sctpWord.MatchString(flow) { // whose ports it reads by these names only
		flow = strings.ReplaceAll(strings.ReplaceAll(flow, ",tp_src=", ",sctp_src="), ",tp_dst=", ",sctp_dst=")
	}
	return flow
}

// hashed is the number under which the packet comes back with a hash, 0 if it does not.
func (p *Pass) hashed() uint32 {
	found := hashedTail.FindStringSubmatch(p.Actions)
	if found == nil {
		return 0
	}
	id, _ := strconv.ParseUint(found[1], 16, 32)
	return uint32(id)
}

// parseTrace reads what ofproto/trace of Open vSwitch 2.17 to 3.x prints.
func parseTrace(text string) ([]Pass, error) {
	var passes []Pass
	var recirc uint32
	var state string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if came := recircLine.FindStringSubmatch(line); came != nil {
			id, _ := strconv.ParseUint(came[1], 16, 32)
			recirc, state = uint32(id), came[2]
			continue
		}
		if flow, ok := strings.CutPrefix(line, "Flow: "); ok {
			passes = append(passes, Pass{Recirc: recirc, CTState: state, Flow: flow})
			continue
		}
		if len(passes) == 0 {
			continue
		}
		if err := passes[len(passes)-1].read(line); err != nil {
			return nil, err
		}
	}
	for _, p := range passes {
		if p.Actions == "" {
			return nil, fmt.Errorf("no datapath actions for %s", p.Flow)
		}
	}
	if len(passes) == 0 {
		return nil, errors.New("no flow")
	}
	return passes, nil
}

func (p *Pass) read(line string) error {
	if actions, ok := strings.CutPrefix(line, "Datapath actions: "); ok {
		p.Actions = actions
		return nil
	}
	if final, ok := strings.CutPrefix(line, "Final flow: "); ok {
		if p.Final = final; final == "unchanged" {
			p.Final = p.Flow
		}
		return nil
	}
	if why, failed := strings.CutPrefix(line, "Translation failed ("); failed {
		if strings.Contains(strings.ToLower(why), "recirculation context") {
			return errForgotten
		}
		return fmt.Errorf("the switch gives up: %s", strings.TrimSuffix(why, "), packet is dropped."))
	}
	found := stepLine.FindStringSubmatch(line)
	if found == nil {
		return nil
	}
	table, err := strconv.ParseUint(found[1], 10, 8)
	if err != nil {
		return fmt.Errorf("table in %q: %w", line, err)
	}
	step := Step{Table: uint8(table)}
	if step.Miss = strings.HasPrefix(found[2], "No match"); !step.Miss {
		tail := stepTail.FindStringSubmatch(found[2])
		if tail == nil {
			return fmt.Errorf("flow in %q", line)
		}
		priority, err := strconv.ParseUint(tail[2], 10, 16)
		if err != nil {
			return fmt.Errorf("priority in %q: %w", line, err)
		}
		step.Match, step.Priority = tail[1], uint16(priority)
		if tail[3] != "" {
			step.Cookie, _ = strconv.ParseUint(tail[3], 16, 64)
		}
	}
	p.Steps = append(p.Steps, step)
	return nil
}
