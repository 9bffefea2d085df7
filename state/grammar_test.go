package state_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/contiv/contiv/state"
)

// A grammar is one of the notations of fields, told twice: by the code under test, and by the reference's words as
// regular expressions and arithmetic on integers that share nothing with it. Both give a canonical text of what was
// read, or say that it cannot be read.
type grammar struct {
	seeds        []string
	ours, theirs func(text string) (value string, ok bool)
}

const (
	octetWords = `(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
	ip4Words   = `(?:` + octetWords + `\.){3}` + octetWords
	labelWords = `[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?`
	nameWords  = labelWords + `(?:\.` + labelWords + `)*`
)

var compiled sync.Map // words -> *regexp.Regexp

// whole is a pattern of whole texts.
func whole(words string) *regexp.Regexp {
	if pattern, ok := compiled.Load(words); ok {
		return pattern.(*regexp.Regexp)
	}
	pattern, _ := compiled.LoadOrStore(words, regexp.MustCompile(`\A(?:`+words+`)\z`))
	return pattern.(*regexp.Regexp)
}

var grammars = map[string]grammar{
	"name": {
		[]string{"a", "web-1.Db", "-a", "a-", "a..b", "a.", "a_b", strings.Repeat("x", 64), strings.Repeat("x", 65), "", "ä"},
		func(text string) (string, bool) { return text, (&state.Tenant{TenantName: text}).Validate() == nil },
		matches(nameWords, 64),
	},
	"optional name": {
		[]string{"", "a", "a.", "a:b"},
		func(text string) (string, bool) {
			return text, (&state.Tenant{TenantName: "t", DefaultNetwork: text}).Validate() == nil
		},
		matches(nameWords+`|`, 64),
	},
	"tag": {
		[]string{"", "a.b", strings.Repeat("x", 128), strings.Repeat("x", 129), "a b"},
		func(text string) (string, bool) {
			g := state.EndpointGroup{TenantName: "t", GroupName: "g", NetworkName: "n", CfgdTag: text}
			return text, g.Validate() == nil
		},
		matches(nameWords+`|`, 128),
	},
	"long name": {
		[]string{"s", strings.Repeat("x", 256), strings.Repeat("x", 257)},
		func(text string) (string, bool) {
			s := state.ServiceLB{TenantName: "t", ServiceName: text, NetworkName: "n", Ports: []string{"1:1:tcp"}, Selectors: []string{"a=b"}}
			return text, s.Validate() == nil
		},
		matches(nameWords, 256),
	},
	"profile name": {
		[]string{"any name!", "a/b", "a:b", `a\b`, ".", "..", "", "\x00", "\xff", "é", "\u200b", strings.Repeat("é", 32), strings.Repeat("é", 33)},
		func(text string) (string, bool) {
			return text, (&state.Netprofile{TenantName: "t", ProfileName: text}).Validate() == nil
		},
		func(text string) (string, bool) {
			printable, ok := matches(`(?:[\p{L}\p{M}\p{N}\p{P}\p{S}]| )+`, 64)(text)
			return printable, ok && utf8.ValidString(text) && !strings.ContainsAny(text, `:/\`) && text != "." && text != ".."
		},
	},
	"contract": {
		[]string{"uni/tn-common/brc-default", "a b", "", "\t", "é", "\xff", strings.Repeat("x", 512), strings.Repeat("x", 513)},
		func(text string) (string, bool) {
			e := state.ExtContractsGroup{TenantName: "t", ContractsGroupName: "x", ContractsType: "provided", Contracts: []string{text}}
			return text, e.Validate() == nil
		},
		func(text string) (string, bool) {
			printable, ok := matches(`[\p{L}\p{M}\p{N}\p{P}\p{S}]+`, 512)(text)
			return printable, ok && utf8.ValidString(text)
		},
	},
	"address": {
		[]string{"", "10.1.1.1", "10.1.1.256", "010.1.1.1", "10.1.1", "::1", "::ffff:10.1.1.1", "1.1.1.1%eth0"},
		func(text string) (string, bool) {
			s := state.ServiceLB{TenantName: "t", ServiceName: "s", NetworkName: "n", IPAddress: text, Ports: []string{"1:1:tcp"}, Selectors: []string{"a=b"}}
			return text, s.Validate() == nil
		},
		matches(ip4Words+`|`, 1<<20),
	},
	"subnet": {
		[]string{"10.1.2.0/24", "200.1.1.1/24", "10.1.1.50-10.1.1.100/24", "10.1.1.20-44/24", "10.0.0.0/7", "10.0.0.1/32", "10.0.0.1/31", "224.0.0.0/8", "127.0.0.1/8", "10.0.0.9-10.0.0.8/24", "10.0.0.0-10.0.1.0/24", "10.0.0.0/024"},
		func(text string) (string, bool) { return subnetValue(state.ParseSubnet(text)) },
		readSubnet,
	},
	"IPv6 subnet": {
		[]string{"2001:db8::/64", "::/16", "::1/64", "fe80::/64", "fec0::/16", "ff00::/16", "::ffff:1.2.3.4/96", "64:ff9b::1.2.3.4/96", "2001:db8::/128", "2001:db8::/109", "1:2:3:4:5:6:7:8/127", "1:2:3:4:5:6:7::/127", "1::2::3/64", "fe80:/64", "/64", "::/15", "1:2:3:4:5:6:7:8::/64", "12345::/64", "::%1/64"},
		func(text string) (string, bool) { return subnetValue(state.ParseSubnet6(text)) },
		readSubnet6,
	},
	"pool": {
		[]string{"10.1.2.5-10.1.2.10", "10.1.2.5", "10.1.2.10-10.1.2.5", "10.1.2.5-10", "10.1.2.5-", "::1-::2"},
		func(text string) (string, bool) { return rangeValue(state.ParsePool(text)) },
		func(text string) (string, bool) {
			part := whole(`(` + ip4Words + `)(?:-(` + ip4Words + `))?`).FindStringSubmatch(text)
			if part == nil {
				return "", false
			}
			first, last := number4(part[1]), number4(part[1])
			if part[2] != "" {
				last = number4(part[2])
			}
			return fmt.Sprint(first, last), first <= last
		},
	},
	"peer": {
		[]string{"10.1.1.1", "10.1.1.1/32", "10.1.1.5-9/28", "10.1.1.0-255/24", "0.0.0.0/1", "0.0.0.0/0", "10.1.1.9-5", "10.1.1.5-90/28", "10.1.1.1-01", "10.1.1.1/33", "2001:db8::9", "2001:db8::9/64", "::/1", "::/0", "::1/128", "::1/129", "::1-5", "::1%eth0", "::ffff:1.2.3.4"},
		func(text string) (string, bool) { return rangeValue(state.ParsePeer(text)) },
		readPeer,
	},
	"range": {
		[]string{"1-4094", "0-5", "5-5", "6-5", "1-4095", "1-4096", "-", "1", "00000001-2", "000000001-2", "1-65535", "1-99999999"},
		func(text string) (string, bool) {
			return fmt.Sprint(state.ParseRange(text)), noError(state.ParseRange(text))
		},
		func(text string) (string, bool) {
			first, last, ok := twoNumbers(text)
			return fmt.Sprint(state.Range{First: first, Last: last}, error(nil)), ok && first >= 1 && first <= last
		},
	},
	"vlans": {
		[]string{"1-4094", "1-4095", "1-4096", "4095-4095", "4096-4096", "0-1"},
		func(text string) (string, bool) { return text, globalWith(func(g *state.Global) { g.Vlans = text }) },
		func(text string) (string, bool) {
			first, last, ok := twoNumbers(text)
			return text, ok && first >= 1 && first <= last && last <= 4095
		},
	},
	"vxlans": {
		[]string{"1-10000", "1-16001", "1-16002", "65535-65535", "50000-65535", "50000-65536", "49534-65535"},
		func(text string) (string, bool) { return text, globalWith(func(g *state.Global) { g.Vxlans = text }) },
		func(text string) (string, bool) {
			first, last, ok := twoNumbers(text)
			return text, ok && first >= 1 && first <= last && last <= 65535 && last-first <= 16000
		},
	},
	"private subnet": {
		[]string{"172.19.0.0/16", "172.19.0.1/16", "172.19.0.0/17", "172.19.0.0/016", "::/16"},
		func(text string) (string, bool) {
			return text, globalWith(func(g *state.Global) { g.PvtSubnet = text })
		},
		matches(ip4Words+`/16`, 1<<20),
	},
	"protocol": {
		[]string{"", "tcp", "TCP", "udp", "sctp", "icmp", "icmp6", "igmp", "1", "0", "255", "256", "06", "999"},
		func(text string) (string, bool) {
			p, err := state.ParseProtocol(text)
			return strconv.Itoa(int(p)), err == nil
		},
		func(text string) (string, bool) {
			if known, ok := map[string]string{"": "0", "icmp": "1", "tcp": "6", "udp": "17", "icmp6": "58", "sctp": "132"}[text]; ok {
				return known, true
			}
			return text, whole(`[1-9][0-9]{0,2}`).MatchString(text) && integer(text) <= 255
		},
	},
	"bandwidth": {
		[]string{"500Kbps", "10 Mbps", "1g", "4294Gbps", "4295Gbps", "10 1", "3kb", "7MBps", "7MB", "01m", "10  m", "10", "k", "99999999k", "100000000k"},
		func(text string) (string, bool) {
			b, err := state.ParseBandwidth(text)
			return strconv.FormatInt(b.BitsPerSecond(), 10), err == nil
		},
		func(text string) (string, bool) {
			part := whole(`([1-9][0-9]{0,7}) ?([kmgKMG])(?:b|[bB]ps)?`).FindStringSubmatch(text)
			if part == nil {
				return "", false
			}
			kilobits := integer(part[1]) * map[string]int64{"k": 1, "m": 1000, "g": 1000000}[strings.ToLower(part[2])]
			return strconv.FormatInt(kilobits*1000, 10), kilobits < 1<<32
		},
	},
	"service port": {
		[]string{"80:8080:TCP", "53:53:udp", "0:1:tcp", "1:65536:tcp", "65535:65535:Udp", "1:2", "1:2:3:4", "1:2:icmp", "1:2:SCTP", "00000080:1:tcp", "+1:1:tcp"},
		func(text string) (string, bool) {
			p, err := state.ParseServicePorts([]string{text})
			return fmt.Sprint(p), err == nil
		},
		func(text string) (string, bool) {
			part := whole(`([0-9]{1,8}):([0-9]{1,8}):([tT][cC][pP]|[uU][dD][pP]|[sS][cC][tT][pP])`).FindStringSubmatch(text)
			if part == nil {
				return "", false
			}
			from, to := integer(part[1]), integer(part[2])
			protocol := map[string]int{"TCP": 6, "UDP": 17, "SCTP": 132}[strings.ToUpper(part[3])]
			return fmt.Sprintf("[{%d %d %d}]", from, to, protocol), from >= 1 && from <= 65535 && to >= 1 && to <= 65535
		},
	},
	"selector": {
		[]string{"app=web", "a=", "=b", "a=b=c", "a", "", "=", "\n=\n"},
		func(text string) (string, bool) {
			s, err := state.ParseSelectors([]string{text})
			return fmt.Sprintf("%q", s), err == nil
		},
		func(text string) (string, bool) {
			at := strings.Index(text, "=")
			if at < 1 || strings.Count(text, "=") != 1 {
				return "", false
			}
			return fmt.Sprintf("%q", map[string]string{text[:at]: text[at+1:]}), true
		},
	},
	"autonomous system": {
		[]string{"65002", "0", "4294967295", "4294967296", "1.10", "0.1", "0.0", "1.65536", "65535.65535", "007", "1.", "01.1", "+1", "1.+1", "1_0"},
		func(text string) (string, bool) {
			n, err := state.ParseAS(text)
			return strconv.FormatUint(uint64(n), 10), err == nil
		},
		func(text string) (string, bool) {
			if whole(`[1-9][0-9]*`).MatchString(text) {
				return text, bigger(text).Cmp(big.NewInt(1<<32)) < 0
			}
			part := whole(`([0-9]+)\.([0-9]+)`).FindStringSubmatch(text)
			if part == nil {
				return "", false
			}
			high, low := bigger(part[1]), bigger(part[2])
			number := new(big.Int).Add(new(big.Int).Mul(high, big.NewInt(65536)), low)
			half := big.NewInt(65535)
			return number.String(), high.Cmp(half) <= 0 && low.Cmp(half) <= 0 && number.Sign() > 0
		},
	},
	"router": {
		[]string{"50.1.1.1/24", "50.1.1.1-5/24", "50.1.1.1/0", "50.1.1.1/32", "50.1.1.1/33", "0.0.0.0/8", "224.0.0.1/8", "50.1.1.1", "50.1.1.1/024"},
		func(text string) (string, bool) {
			p, err := state.ParseRouterIP(text)
			return p.String(), err == nil
		},
		func(text string) (string, bool) {
			part := whole(`(` + ip4Words + `)/([1-9]|[12][0-9]|3[0-2])`).FindStringSubmatch(text)
			if part == nil {
				return "", false
			}
			n := number4(part[1])
			return text, n != 0 && n>>28 != 0xe
		},
	},
	"node bindings": {
		[]string{"", "topology/pod-1/node-101", "topology/pod-1/node-101,topology/pod-2/node-102", ",", "topology/pod-1/node-101,", "topology/pod-/node-1", "topology/pod-123456789/node-1"},
		func(text string) (string, bool) {
			b, err := state.ParseNodeBindings(text)
			return fmt.Sprint(b), err == nil
		},
		listOf(`topology/pod-([0-9]{1,8})/node-([0-9]{1,8})`),
	},
	"path bindings": {
		[]string{"", "topology/pod-1/paths-101/pathep-[eth1/14]", "topology/pod-1/paths-101/pathep-[eth1/14],topology/pod-1/paths-102/pathep-[eth1/15]", "topology/pod-1/paths-101/pathep-[eth1]", "topology/pod-1/paths-101/pathep-[eth1/14"},
		func(text string) (string, bool) {
			b, err := state.ParsePathBindings(text)
			return strings.NewReplacer("{{", "{", "} ", " ").Replace(strings.ReplaceAll(fmt.Sprint(b), "} {{", "};{")), err == nil
		},
		func(text string) (string, bool) {
			value, ok := listOf(`topology/pod-([0-9]{1,8})/paths-([0-9]{1,8})/pathep-\[eth([0-9]{1,8})/([0-9]{1,8})\]`)(text)
			return strings.ReplaceAll(value, "} {", "};{"), ok
		},
	},
}

func matches(words string, most int) func(string) (string, bool) {
	pattern := whole(words)
	return func(text string) (string, bool) { return text, len(text) <= most && pattern.MatchString(text) }
}

func noError[T any](_ T, err error) bool { return err == nil }

func globalWith(change func(*state.Global)) bool {
	g := state.DefaultGlobal("bridge")
	change(&g)
	return g.Validate() == nil
}

func bigger(digits string) *big.Int {
	n, _ := new(big.Int).SetString(digits, 10)
	return n
}

// integer is a number of at most 8 digits, as the patterns have made sure.
func integer(digits string) int64 { return bigger(digits).Int64() }

func twoNumbers(text string) (first, last int, ok bool) {
	part := whole(`([0-9]{1,8})-([0-9]{1,8})`).FindStringSubmatch(text)
	if part == nil {
		return 0, 0, false
	}
	return int(integer(part[1])), int(integer(part[2])), true
}

func number4(text string) (n int64) {
	for _, octet := range strings.Split(text, ".") {
		n = n*256 + integer(octet)
	}
	return n
}

func listOf(item string) func(string) (string, bool) {
	pattern := whole(item)
	return func(text string) (string, bool) {
		if text == "" {
			return "[]", true
		}
		var out []string
		for _, one := range strings.Split(text, ",") {
			part := pattern.FindStringSubmatch(one)
			if part == nil {
				return "", false
			}
			var numbers []string
			for _, digits := range part[1:] {
				numbers = append(numbers, bigger(digits).String())
			}
			out = append(out, "{"+strings.Join(numbers, " ")+"}")
		}
		return "[" + strings.Join(out, " ") + "]", true
	}
}

func numberOf(a netip.Addr) *big.Int { return new(big.Int).SetBytes(a.AsSlice()) }

func rangeValue(r state.AddrRange, err error) (string, bool) {
	if err != nil {
		return "", false
	}
	return fmt.Sprint(numberOf(r.First), numberOf(r.Last)), true
}

// subnetValue is what a subnet means: its base, its length, what it claims, and what of that endpoints may have.
func subnetValue(s state.Subnet, err error) (string, bool) {
	if err != nil {
		return "", false
	}
	usable := "none"
	if u := s.Usable(); u.First.IsValid() {
		usable = fmt.Sprint(numberOf(u.First), numberOf(u.Last))
	}
	return fmt.Sprint(numberOf(s.Prefix.Addr()), s.Prefix.Bits(), numberOf(s.First), numberOf(s.Last), " ", usable), true
}

func readSubnet(text string) (string, bool) {
	part := whole(`(` + ip4Words + `)(?:-(` + ip4Words + `))?/([89]|[12][0-9]|3[0-2])`).FindStringSubmatch(text)
	if part == nil {
		return "", false
	}
	from, bits := number4(part[1]), integer(part[3])
	size := int64(1) << (32 - bits)
	base := from - from%size
	first, last := base, base+size-1
	if part[2] != "" {
		first, last = from, number4(part[2])
	}
	if first > last || last > base+size-1 || from>>28 == 0xe || from>>24 == 127 {
		return "", false
	}
	lowest, highest := first, last
	if bits <= 30 {
		lowest, highest = max(first, base+1), min(last, base+size-2)
	}
	usable := "none"
	if lowest <= highest {
		usable = fmt.Sprint(lowest, highest)
	}
	return fmt.Sprint(base, bits, first, last, " ", usable), true
}

func readPeer(text string) (string, bool) {
	if strings.Contains(text, ":") {
		return readPeer6(text)
	}
	part := whole(`(` + ip4Words + `)(?:-(` + octetWords + `))?(?:/([1-9]|[12][0-9]|3[0-2]))?`).FindStringSubmatch(text)
	if part == nil {
		return "", false
	}
	from, size := number4(part[1]), int64(1)
	if part[3] != "" {
		size = 1 << (32 - integer(part[3]))
	}
	base := from - from%size
	if part[2] == "" {
		return fmt.Sprint(base, base+size-1), true
	}
	last := from - from%256 + integer(part[2])
	return fmt.Sprint(from, last), last >= from && (part[3] == "" || last <= base+size-1)
}

func readPeer6(text string) (string, bool) {
	part := whole(`([^/]*?)(?:/([1-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?`).FindStringSubmatch(text)
	if part == nil {
		return "", false
	}
	from, ok := number6(part[1])
	if !ok || new(big.Int).Rsh(from, 32).Cmp(big.NewInt(0xffff)) == 0 {
		return "", false
	}
	bits := int64(128)
	if part[2] != "" {
		bits = integer(part[2])
	}
	size := new(big.Int).Lsh(big.NewInt(1), uint(128-bits)) //nolint:gosec // 1 to 128
	base := new(big.Int).Sub(from, new(big.Int).Mod(from, size))
	return fmt.Sprint(base, new(big.Int).Sub(new(big.Int).Add(base, size), big.NewInt(1))), true
}

// words6 reads the 16-bit words on one side of the "::" of an IPv6 address; the last of all may be dotted.
func words6(text string, ends bool) (words []int64, ok bool) {
	if text == "" {
		return nil, true
	}
	all := strings.Split(text, ":")
	for i, word := range all {
		switch {
		case whole(`[0-9a-fA-F]{1,4}`).MatchString(word):
			n, _ := new(big.Int).SetString(word, 16)
			words = append(words, n.Int64())
		case ends && i == len(all)-1 && whole(ip4Words).MatchString(word):
			words = append(words, number4(word)>>16, number4(word)&0xffff)
		default:
			return nil, false
		}
	}
	return words, true
}

func number6(text string) (*big.Int, bool) {
	left, right, short := strings.Cut(text, "::")
	words, ok := words6(left, !short)
	rest, restOK := words6(right, true)
	missing := 8 - len(words) - len(rest)
	if !ok || !restOK || short && missing < 1 || !short && missing != 0 {
		return nil, false
	}
	words = slices.Concat(words, make([]int64, missing), rest)
	n := new(big.Int)
	for _, word := range words {
		n.Add(n.Lsh(n, 16), big.NewInt(word))
	}
	return n, true
}

func readSubnet6(text string) (string, bool) {
	part := whole(`([^/]*)/(1[6-9]|[2-9][0-9]|1[01][0-9]|12[0-7])`).FindStringSubmatch(text)
	if part == nil {
		return "", false
	}
	from, ok := number6(part[1])
	if !ok {
		return "", false
	}
	top := func(bits uint) int64 { return new(big.Int).Rsh(from, 128-bits).Int64() }
	mapped := new(big.Int).Rsh(from, 32).Cmp(big.NewInt(0xffff)) == 0
	if mapped || from.Cmp(big.NewInt(1)) == 0 || top(8) == 0xff || top(10) == 0xfe80>>6 {
		return "", false
	}
	size := new(big.Int).Lsh(big.NewInt(1), uint(128-integer(part[2]))) //nolint:gosec // 16 to 127
	base := new(big.Int).Sub(from, new(big.Int).Mod(from, size))
	last := new(big.Int).Sub(new(big.Int).Add(base, size), big.NewInt(1))
	lowest := new(big.Int).Add(base, big.NewInt(1))
	return fmt.Sprint(base, integer(part[2]), base, last, " ", fmt.Sprint(lowest, last)), true
}

// compare reads a text in both ways.
func (g grammar) compare(t *testing.T, text string) {
	t.Helper()
	got, ok := g.ours(text)
	want, wanted := g.theirs(text)
	if ok != wanted || ok && got != want {
		t.Errorf("%q is read as %v %s; by the reference it is %v %s", text, ok, got, wanted, want)
	}
}

// TestGrammars compares both readings of the seeds and of texts that are nearly those.
func TestGrammars(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // never negative
	if text := os.Getenv("CONTIV_GRAMMAR_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CONTIV_GRAMMAR_SEED=%d", seed)
	for name, g := range grammars {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // choices of a test
			accepted := 0
			for _, text := range g.seeds {
				g.compare(t, text)
			}
			for range 3000 {
				text := g.seeds[rnd.IntN(len(g.seeds))]
				for range 1 + rnd.IntN(3) {
					text = nearly(rnd, text, g.seeds)
				}
				g.compare(t, text)
				if _, ok := g.ours(text); ok {
					accepted++
				}
			}
			if accepted < 30 {
				t.Errorf("only %d of the texts were accepted: the test tests little", accepted)
			}
		})
	}
}

// nearly changes a text at one place.
func nearly(rnd *rand.Rand, text string, seeds []string) string {
	const letters = "0123456789abcdefkmgKMG.-:/=,[]_ \xff\x00%+TCPps"
	at := rnd.IntN(len(text) + 1)
	letter := letters[rnd.IntN(len(letters))]
	switch other := seeds[rnd.IntN(len(seeds))]; rnd.IntN(6) {
	case 0:
		return text[:at] + string([]byte{letter}) + text[at:]
	case 1:
		return text[:at] + text[min(len(text), at+1):]
	case 2:
		return text[:at] + strings.Repeat(text[at:min(len(text), at+1)], 2) + text[min(len(text), at+1):]
	case 3:
		return text[:at] + other[min(len(other), at):]
	case 4:
		return text[:at] + strconv.Itoa(rnd.IntN(300)) + text[min(len(text), at+1+rnd.IntN(3)):]
	}
	return text[:at] + string([]byte{letter}) + text[min(len(text), at+1):]
}

func fuzzGrammar(f *testing.F, name string) {
	f.Helper()
	g := grammars[name]
	for _, seed := range g.seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { g.compare(t, text) })
}

func FuzzName(f *testing.F)             { fuzzGrammar(f, "name") }
func FuzzTag(f *testing.F)              { fuzzGrammar(f, "tag") }
func FuzzProfileName(f *testing.F)      { fuzzGrammar(f, "profile name") }
func FuzzContract(f *testing.F)         { fuzzGrammar(f, "contract") }
func FuzzAddress(f *testing.F)          { fuzzGrammar(f, "address") }
func FuzzSubnet(f *testing.F)           { fuzzGrammar(f, "subnet") }
func FuzzSubnet6(f *testing.F)          { fuzzGrammar(f, "IPv6 subnet") }
func FuzzPool(f *testing.F)             { fuzzGrammar(f, "pool") }
func FuzzPeer(f *testing.F)             { fuzzGrammar(f, "peer") }
func FuzzRange(f *testing.F)            { fuzzGrammar(f, "range") }
func FuzzVLANs(f *testing.F)            { fuzzGrammar(f, "vlans") }
func FuzzVXLANs(f *testing.F)           { fuzzGrammar(f, "vxlans") }
func FuzzPrivateSubnet(f *testing.F)    { fuzzGrammar(f, "private subnet") }
func FuzzProtocol(f *testing.F)         { fuzzGrammar(f, "protocol") }
func FuzzBandwidth(f *testing.F)        { fuzzGrammar(f, "bandwidth") }
func FuzzServicePort(f *testing.F)      { fuzzGrammar(f, "service port") }
func FuzzSelector(f *testing.F)         { fuzzGrammar(f, "selector") }
func FuzzAutonomousSystem(f *testing.F) { fuzzGrammar(f, "autonomous system") }
func FuzzRouter(f *testing.F)           { fuzzGrammar(f, "router") }
func FuzzNodeBindings(f *testing.F)     { fuzzGrammar(f, "node bindings") }
func FuzzPathBindings(f *testing.F)     { fuzzGrammar(f, "path bindings") }
