package objects

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/ledger/check"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/embedded"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// TestKilled: a process that creates and deletes on the embedded store with eight clients is killed with -9 at random
// moments, a thousand operations long. Each time the store is whole, and everything acknowledged is there.
func TestKilled(t *testing.T) {
	const operations = 1000
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(11, uint64(os.Getpid())))
	seen := journal{}
	kills, total := 0, 0
	for ; total < operations; kills++ {
		total += runAndKill(t, dir, 20+rnd.IntN(160), time.Duration(rnd.IntN(3000))*time.Microsecond, seen)
		store, err := embedded.Open(t.Context(), embedded.Config{Dir: dir, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		wrong, err := check.Store(t.Context(), store)
		if err != nil || len(wrong) > 0 {
			t.Errorf("kill %d: %v\n%s", kills, err, strings.Join(wrong, "\n"))
		}
		seen.compare(t, store)
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d operations acknowledged over %d kills, %d objects known", total, kills, len(seen))
}

// journal is what the child last said of each key: what it began, and the value after what it acknowledged.
type journal map[string]entry

type entry struct {
	doubtful bool   // something was begun and not acknowledged
	value    string // "" for deleted
}

func (j journal) compare(t *testing.T, store objdb.Store) {
	t.Helper()
	for key, is := range j {
		kv, err := store.Get(t.Context(), key)
		if is.doubtful {
			// Done or not, from now on it is what it is.
			j[key] = entry{value: valueIn(kv, err)}
			continue
		}
		if got := valueIn(kv, err); got != is.value {
			t.Errorf("%s was acknowledged as %q, now it is %q (%v)", key, is.value, got, err)
		}
	}
}

func valueIn(kv objdb.KV, err error) string {
	if err != nil {
		return ""
	}
	var e state.Endpoint
	if strings.HasPrefix(kv.Key, state.EndpointPrefix) && state.Decode(kv.Value, &e) == nil {
		return e.IPv4.String()
	}
	return "there"
}

// runAndKill runs a child until it has acknowledged so many operations and a moment more, and kills it.
func runAndKill(t *testing.T, dir string, after int, more time.Duration, seen journal) int {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killVariable+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { _ = child.Process.Kill() })
	defer watchdog.Stop()
	acknowledged := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		word, key, value := splitLine(lines.Text())
		switch word {
		case "begin":
			seen[key] = entry{doubtful: true, value: seen[key].value}
		case "done":
			seen[key] = entry{value: value}
			if acknowledged++; acknowledged == after {
				time.AfterFunc(more, func() { _ = child.Process.Kill() })
			}
		case "refused":
			seen[key] = entry{value: seen[key].value}
		default:
			t.Errorf("the child says %q", lines.Text())
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if err := child.Wait(); acknowledged < after {
		t.Fatalf("the child ended by itself after %d operations: %v", acknowledged, err)
	}
	return acknowledged
}

func splitLine(line string) (word, key, value string) {
	word, rest, _ := strings.Cut(line, " ")
	key, value, _ = strings.Cut(rest, " ")
	return word, key, value
}

const killVariable = "CONTIV_TEST_KILL_DIR"

func killChild() string { return os.Getenv(killVariable) }

// runKillChild creates and deletes until it is killed.
func runKillChild() {
	if err := killed(context.Background(), killChild()); err != nil {
		panic(err)
	}
}

func killed(ctx context.Context, dir string) error {
	store, err := embedded.Open(ctx, embedded.Config{Dir: dir, Log: quiet()})
	if err != nil {
		return err
	}
	revision, err := store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put(leaderKey, []byte(strconv.Itoa(os.Getpid())))}})
	if err != nil {
		return err
	}
	l, err := ledger.Open(ctx, store, func() (objdb.Compare, bool) { return objdb.Unchanged(leaderKey, revision), true }, quiet())
	if err != nil {
		return err
	}
	o := New(l, Options{}, quiet())
	if _, err := o.Seed(ctx, &state.Global{FwdMode: state.ForwardBridge}); err != nil {
		return err
	}
	if _, err := o.RegisterHost(ctx, &protocol.RegisterRequest{Host: "h", MTU: 1500}); err != nil {
		return err
	}
	if _, err := o.CreateNetwork(ctx, net4("default:shared", "10.99.0.0/24")); err != nil {
		return err
	}
	go o.Run(ctx)
	var wg sync.WaitGroup
	for client := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			k := &killClient{Objects: o, name: strconv.Itoa(client), rnd: rand.New(rand.NewPCG(uint64(client), uint64(os.Getpid())))}
			for k.step(ctx) {
			}
		}()
	}
	wg.Wait()
	return nil
}

// killClient works on objects of its own, so that what it last said of one is what must be there, and on addresses and
// numbers that all share.
type killClient struct {
	*Objects
	name string
	rnd  *rand.Rand
}

func (k *killClient) say(words ...string) bool {
	_, err := os.Stdout.WriteString(strings.Join(words, " ") + "\n")
	return err == nil
}

func (k *killClient) step(ctx context.Context) bool {
	i := strconv.Itoa(k.rnd.IntN(5))
	create := k.rnd.IntN(2) == 0
	tenant := &state.Tenant{TenantName: "t" + k.name + i}
	network := net4("default:n"+k.name+i, "10."+k.name+"."+i+".0/24")
	g := group("default:g"+k.name+i, "n"+k.name+i, "10."+k.name+"."+i+".9-10."+k.name+"."+i+".19")
	ep := request("h", "c"+k.name+i, "shared", "")
	id := state.EndpointID(ep.ID)
	switch k.rnd.IntN(7) {
	case 3:
		s := service("s"+k.name+i, func(s *state.ServiceLB) { s.NetworkName = "shared" })
		return k.does(s.StoreKey(), create, func() (string, error) {
			_, err := k.PutService(ctx, s)
			return "there", err
		}, func() error { _, err := k.DeleteService(ctx, s.Key()); return err })
	case 4:
		p := &state.Policy{TenantName: "default", PolicyName: "p" + k.name + i}
		return k.does(p.StoreKey(), create, func() (string, error) {
			_, err := k.PutPolicy(ctx, p)
			for id := 0; err == nil && id < 80; id++ { // more than one transaction can delete
				_, err = k.CreateRule(ctx, ruleOf(p.PolicyName, strconv.Itoa(id), nil))
			}
			return "there", err
		}, func() error { _, err := k.DeletePolicy(ctx, p.Key()); return err })
	case 0:
		return k.does(tenant.StoreKey(), create, func() (string, error) {
			_, err := k.CreateTenant(ctx, tenant)
			return "there", err
		}, func() error { _, err := k.DeleteTenant(ctx, tenant.TenantName); return err })
	case 1:
		return k.does(network.StoreKey(), create, func() (string, error) {
			_, err := k.CreateNetwork(ctx, network)
			return "there", err
		}, func() error { _, err := k.DeleteNetwork(ctx, network.Key()); return err })
	case 2:
		return k.does(g.StoreKey(), create, func() (string, error) {
			_, err := k.PutEndpointGroup(ctx, g)
			return "there", err
		}, func() error { _, err := k.DeleteEndpointGroup(ctx, g.Key()); return err })
	}
	return k.does((&state.Endpoint{EndpointID: id}).StoreKey(), create, func() (string, error) {
		e, _, err := k.CreateEndpoint(ctx, ep)
		if err != nil {
			return "", err
		}
		return e.IPv4.String(), nil
	}, func() error { _, err := k.DeleteEndpoint(ctx, id); return err })
}

func (k *killClient) does(key string, create bool, make func() (string, error), remove func() error) bool {
	if !k.say("begin", key) {
		return false
	}
	value, err := "", error(nil)
	if create {
		value, err = make()
	} else {
		err = remove()
	}
	if err != nil {
		return k.say("refused", key)
	}
	return k.say("done", key, value)
}
