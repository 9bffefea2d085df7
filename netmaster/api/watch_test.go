package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/client"
)

// view is what somebody who watches believes there is, by type and key.
type view struct {
	objects map[string]string
	resume  int64
	resets  int
	synced  bool
}

func newView() *view { return &view{objects: map[string]string{}} }

// take believes an event.
func (v *view) take(tb testing.TB, event client.Event[json.RawMessage]) {
	tb.Helper()
	name := event.Kind + " " + event.Key
	switch event.Type {
	case client.EventReset:
		v.objects, v.synced = map[string]string{}, false
		v.resets++
	case client.EventAlive:
	case client.EventSynced:
		v.synced = true
	case client.EventPut:
		v.objects[name] = own(tb, *event.Object)
	case client.EventDelete:
		delete(v.objects, name)
	default:
		tb.Errorf("event %q", event.Type)
	}
	if event.Resume != 0 && event.Resume < v.resume {
		tb.Errorf("resume at %d after %d", event.Resume, v.resume)
	}
	v.resume = event.Resume
}

// own is an object without its links, which are of other objects.
func own(tb testing.TB, object json.RawMessage) string {
	tb.Helper()
	var members map[string]any
	if err := json.Unmarshal(object, &members); err != nil {
		tb.Fatal(err)
	}
	delete(members, "links")
	delete(members, "link-sets")
	data, err := json.Marshal(members)
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

// truth is what lists show, of all types or of some.
func (r *rig) truth(query string, collections ...string) map[string]string {
	r.t.Helper()
	kinds := map[string]string{
		"tenants": "tenant", "networks": "network", "endpointGroups": "endpointGroup", "policys": "policy", "rules": "rule",
		"netprofiles": "netprofile", "globals": "global",
	}
	if len(collections) == 0 {
		for name := range kinds {
			collections = append(collections, name)
		}
	}
	out := map[string]string{}
	for _, name := range collections {
		var objects []json.RawMessage
		if err := json.Unmarshal([]byte(r.must("GET", "/api/v1/"+name+"/"+query, "")), &objects); err != nil {
			r.t.Fatal(err)
		}
		for _, object := range objects {
			var key struct{ Key string }
			if err := json.Unmarshal(object, &key); err != nil {
				r.t.Fatal(err)
			}
			out[kinds[name]+" "+key.Key] = own(r.t, object)
		}
	}
	return out
}

// revision is that of the store.
func (r *rig) revision() (revision int64) {
	r.t.Helper()
	_, _, header := r.ask("GET", "/api/v1/tenants/", "")
	if _, err := fmt.Sscan(header.Get(client.RevisionHeader), &revision); err != nil {
		r.t.Fatal(err)
	}
	return revision
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for key, object := range want {
		if got[key] != object {
			t.Errorf("%s: %s is %s, want %s", what, key, got[key], object)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s is there no longer", what, key)
		}
	}
}

// watching reads a stream until it is done, or for so many events; 0: any number.
func (v *view) watching(tb testing.TB, events iter.Seq2[client.Event[json.RawMessage], error], done func() bool, most int) {
	tb.Helper()
	for event, err := range events {
		if err != nil {
			tb.Errorf("at %d: %v", v.resume, err)
			return
		}
		v.take(tb, event)
		if most--; most == 0 || v.synced && done() {
			return
		}
	}
}

func patience(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

// play does something at random that may or may not succeed.
func (r *rig) play(random *rand.Rand) {
	name := fmt.Sprint(random.IntN(4))
	post := func(collection, key, body string) { r.ask("POST", "/api/v1/"+collection+"/"+key+"/", body) }
	remove := func(collection, key string) { r.ask("DELETE", "/api/v1/"+collection+"/"+key+"/", "") }
	tenant := []string{"default", "blue"}[random.IntN(2)]
	in := `{"tenantName":"` + tenant + `",`
	switch random.IntN(12) {
	case 0, 1:
		post("networks", tenant+":n"+name, in+`"networkName":"n`+name+`","subnet":"10.9.`+name+`.0/24"}`)
	case 2:
		remove("networks", tenant+":n"+name)
	case 3, 4:
		post("endpointGroups", tenant+":g"+name, in+`"groupName":"g`+name+`","networkName":"n`+name+`","policies":["p`+fmt.Sprint(random.IntN(2))+`"]}`)
	case 5:
		remove("endpointGroups", tenant+":g"+name)
	case 6:
		post("policys", tenant+":p"+name, in+`"policyName":"p`+name+`"}`)
	case 7:
		remove("policys", tenant+":p"+name)
	case 8:
		post("rules", tenant+":p"+name+":1", in+`"policyName":"p`+name+`","ruleId":"1","direction":"in","action":"deny"}`)
	case 9, 10:
		post("netprofiles", tenant+":np"+name, in+`"profileName":"np`+name+`","DSCP":`+fmt.Sprint(random.IntN(60))+`}`)
	case 11:
		remove("netprofiles", tenant+":np"+name)
	}
}

// Whoever watches ends up with what there is: from the beginning, cut off again and again, of one tenant or type only.
func TestWatchComesToTheTruth(t *testing.T) {
	r := newRig(t, func(o *api.Options) { o.Heartbeat = 5 * time.Millisecond })
	r.must("POST", "/api/v1/tenants/blue/", `{"tenantName":"blue"}`)
	ctx := patience(t)
	var last int64 // revision at which nothing more is changed
	ended := make(chan struct{})
	var work sync.WaitGroup
	for seed := range uint64(3) {
		work.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			for range 150 {
				r.play(random)
			}
		})
	}
	go func() {
		work.Wait()
		r.must("POST", "/api/v1/netprofiles/default:last/", `{"tenantName":"default","profileName":"last"}`)
		r.must("POST", "/api/v1/netprofiles/blue:last/", `{"tenantName":"blue","profileName":"last"}`)
		last = r.revision()
		close(ended)
	}()
	blue := client.WatchOptions{Where: map[string]string{"tenantName": "blue"}}
	profiles := client.WatchOptions{Collections: []string{"netprofiles", "rules"}}
	views := map[string]*view{}
	var watchers sync.WaitGroup
	for name, w := range map[string]struct {
		options client.WatchOptions
		most    int // events until it is cut off
	}{"everything": {}, "cut off": {most: 7}, "cut off soon": {most: 3}, "blue": {options: blue}, "blue, cut off": {blue, 5}, "profiles": {profiles, 3}} {
		v := newView()
		views[name] = v
		watchers.Go(func() {
			random := rand.New(rand.NewPCG(7, 7))
			done := func() bool {
				select {
				case <-ended:
					return v.resume >= last
				default:
					return false
				}
			}
			for ctx.Err() == nil && !done() {
				options, most, until := w.options, 0, done
				switch options.Since = v.resume; {
				case w.most > 0 && v.resume == 0: // who is cut off before the first synced begins anew
					until = func() bool { return true }
				case w.most > 0:
					most = 1 + random.IntN(w.most)
				}
				v.watching(t, r.api.Watch(ctx, options), until, most)
			}
		})
	}
	<-ended
	watchers.Wait()
	if ctx.Err() != nil {
		t.Fatal("nobody came to the end in time")
	}
	same(t, "everything", views["everything"].objects, r.truth(""))
	same(t, "cut off", views["cut off"].objects, r.truth(""))
	same(t, "cut off soon", views["cut off soon"].objects, r.truth(""))
	same(t, "profiles", views["profiles"].objects, r.truth("", "netprofiles", "rules"))
	for _, name := range []string{"blue", "blue, cut off"} {
		same(t, name, views[name].objects, r.truth("?tenantName=blue", "tenants", "networks", "endpointGroups", "policys", "rules", "netprofiles"))
	}
	for name, v := range views {
		if v.resets != 1 {
			t.Errorf("%s began anew %d times", name, v.resets)
		}
	}
}
