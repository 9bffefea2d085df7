package api_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

const profilePath = "/api/v1/netprofiles/default:np/"

func profile(dscp int) string {
	return `{"tenantName":"default","profileName":"np","DSCP":` + strconv.Itoa(dscp) + `}`
}

// versionIn is the resourceVersion of an answer.
func versionIn(body string) string {
	_, rest, _ := strings.Cut(body, `"resourceVersion":"`)
	version, _, _ := strings.Cut(rest, `"`)
	return version
}

func TestConditionalRequests(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.2.0/24"`)
	_, first, header := r.ask("PUT", profilePath, profile(1))
	old := header.Get("ETag")
	if old == "" || !strings.HasPrefix(old, `"`+versionIn(first)+"-") {
		t.Fatalf("tag %q of %s", old, first)
	}
	_, _, header = r.ask("GET", profilePath, "")
	if header.Get("ETag") != old || header.Get(client.RevisionHeader) == "" {
		t.Errorf("GET tells %q, PUT %q; revision %q", header.Get("ETag"), old, header.Get(client.RevisionHeader))
	}
	// A group that uses the profile is a link to it: another form of the same version.
	r.group("default", "g1", `,"netProfile":"np"`)
	_, linked, header := r.ask("GET", profilePath, "")
	withLink := header.Get("ETag")
	if withLink == old || versionIn(linked) != versionIn(first) {
		t.Errorf("tags %q and %q, versions %q and %q", old, withLink, versionIn(first), versionIn(linked))
	}
	for _, step := range []struct {
		method, header, value, body string
		status                      int
		want                        string
	}{
		{"GET", "If-None-Match", withLink, "", 304, ""},
		{"HEAD", "If-None-Match", withLink, "", 304, ""},
		{"GET", "If-None-Match", `"x", W/` + withLink, "", 304, ""},
		{"GET", "If-None-Match", strings.TrimSuffix(withLink, `"`) + `-gzip"`, "", 304, ""},
		{"GET", "If-None-Match", "*", "", 304, ""},
		{"GET", "If-None-Match", old, "", 200, `"DSCP":1`},
		{"GET", "If-None-Match", "12", "", 400, "If-None-Match must be * or a list"},
		{"PUT", "If-Match", `"x"`, profile(2), 412, "has changed since"},
		{"PUT", "If-Match", "W/" + old, profile(2), 412, "has changed since"},
		{"PUT", "If-Match", `"open`, profile(2), 400, "If-Match must be"},
		{"PUT", "If-Match", `"a" "b"`, profile(2), 400, "If-Match must be"},
		{"PUT", "If-Match", "", profile(2), 400, "If-Match must be"}, // not the same as none
		{"PUT", "If-None-Match", "*", profile(2), 412, "exists already"},
		{"PUT", "If-None-Match", old, profile(2), 412, "excludes"},
		{"DELETE", "If-Match", `"x"`, "", 412, "has changed since"},
		{"GET", "If-None-Match", old, "", 200, `"DSCP":1`}, // nothing of that was done
		{"PUT", "If-Match", `"x", ` + old, profile(2), 200, `"DSCP":2`},
		{"POST", "If-Match", old, profile(3), 412, "has changed since"},
		{"POST", "If-Match", "*", profile(3), 200, `"DSCP":3`},
		{"POST", "If-None-Match", `"x"`, profile(4), 200, `"DSCP":4`},
	} {
		status, body, _ := r.ask(step.method, profilePath, step.body, step.header, step.value)
		if status != step.status || !strings.Contains(body, step.want) || step.status == 304 && body != "" {
			t.Errorf("%s with %s: %s answers %d %s, want %d %s", step.method, step.header, step.value, status, body, step.status, step.want)
		}
	}
	none := "/api/v1/tenants/none/"
	for method, want := range map[string]int{"PUT": 412, "DELETE": 404} {
		if status, body, _ := r.ask(method, none, `{"tenantName":"none"}`, "If-Match", "*"); status != want {
			t.Errorf("%s of what does not exist: %d %s", method, status, body)
		}
	}
	if status, _, _ := r.ask("PUT", none, `{"tenantName":"none"}`, "If-None-Match", "*"); status != 200 {
		t.Errorf("creation: %d", status)
	}
	// What goes and comes back is another.
	_, _, header = r.ask("GET", none, "")
	r.must("DELETE", none, "")
	r.must("PUT", none, `{"tenantName":"none"}`)
	if status, body, _ := r.ask("DELETE", none, "", "If-Match", header.Get("ETag")); status != 412 {
		t.Errorf("deletion of another one: %d %s", status, body)
	}
}

// A policy goes with many rules, which takes more than one transaction; the condition is about the first.
func TestConditionOfManySteps(t *testing.T) {
	r := newRig(t, nil)
	_, _, header := r.ask("PUT", "/api/v1/policys/default:p/", `{"tenantName":"default","policyName":"p"}`)
	for i := range 80 {
		id := strconv.Itoa(i)
		r.must("POST", "/api/v1/rules/default:p:"+id+"/", `{"tenantName":"default","policyName":"p","ruleId":"`+id+`","direction":"in","action":"deny"}`)
	}
	if status, body, _ := r.ask("DELETE", "/api/v1/policys/default:p/", "", "If-Match", header.Get("ETag")); status != 200 {
		t.Fatalf("deletion: %d %s", status, body)
	}
	if status, body, _ := r.ask("PUT", "/api/v1/policys/default:p/", `{"tenantName":"default","policyName":"p"}`, "If-None-Match", "*"); status != 200 {
		t.Fatalf("the next of the name: %d %s", status, body)
	}
	equal(t, "rules", r.must("GET", "/api/v1/rules/", ""), "[]")
}

func TestResourceVersion(t *testing.T) {
	r := newRig(t, nil)
	first := r.must("PUT", profilePath, profile(1))
	for _, path := range []string{profilePath, "/api/v1/netprofiles/", "/api/v1/inspect/netprofiles/default:np/"} {
		if got := versionIn(r.must("GET", path, "")); got == "" || got != versionIn(first) {
			t.Errorf("%s: resourceVersion %q, want %q", path, got, versionIn(first))
		}
	}
	second := r.must("PUT", profilePath, strings.Replace(first, `"DSCP":1`, `"DSCP":2`, 1))
	if versionIn(second) == versionIn(first) || !strings.Contains(second, `"DSCP":2`) {
		t.Errorf("after the change: %s", second)
	}
	for body, want := range map[string]int{
		strings.Replace(first, `"DSCP":1`, `"DSCP":3`, 1): 409, // somebody was faster
		first:                                    409,
		second:                                   200,
		`{"resourceVersion":7,` + profile(3)[1:]: 400,
		`{"resourceVersion":"seven",` + profile(3)[1:]:            409,
		strings.Replace(second, "default:np", "default:other", 1): 200, // key is ignored
	} {
		if status, answer, _ := r.ask("PUT", profilePath, body); status != want {
			t.Errorf("%s: %d %s, want %d", body, status, answer, want)
		}
	}
	r.must("DELETE", profilePath, "")
	if status, body, _ := r.ask("PUT", profilePath, second); status != 409 || !strings.Contains(body, "is gone") {
		t.Errorf("change of what is gone: %d %s", status, body)
	}
	r.must("PUT", profilePath, `{"resourceVersion":"",`+profile(3)[1:])
}

// The condition goes along when a follower passes the request on.
func TestConditionsThroughAFollower(t *testing.T) {
	leader, follower := newRig(t, nil), newRig(t, nil)
	follower.cluster.follow(strings.TrimPrefix(leader.url, "http://"))
	_, _, header := follower.ask("PUT", profilePath, profile(1))
	if status, body, _ := follower.ask("PUT", profilePath, profile(2), "If-Match", header.Get("ETag")); status != 200 {
		t.Errorf("the right tag: %d %s", status, body)
	}
	if status, body, _ := follower.ask("PUT", profilePath, profile(3), "If-Match", header.Get("ETag")); status != 412 || !strings.Contains(body, "read it again") {
		t.Errorf("an old tag: %d %s", status, body)
	}
	if body := leader.must("GET", profilePath, ""); !strings.Contains(body, `"DSCP":2`) {
		t.Errorf("the leader has %s", body)
	}
}

// Many clients change one object, each on the word of what it has read: of all who read one form exactly one changes it.
func TestCompareAndSwap(t *testing.T) {
	const clients, each = 8, 12
	r := newRig(t, nil)
	profiles := r.api.Netprofiles()
	ctx := t.Context()
	if _, _, err := profiles.Create(ctx, &client.Netprofile{Netprofile: state.Netprofile{TenantName: "default", ProfileName: "np", Burst: 100}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := profiles.Create(ctx, &client.Netprofile{Netprofile: state.Netprofile{TenantName: "default", ProfileName: "np", Burst: 100}}); !client.IsChanged(err) {
		t.Fatalf("second creation: %v", err)
	}
	var mu sync.Mutex
	winners := map[client.Tag]int{}
	var work sync.WaitGroup
	for range clients {
		work.Go(func() {
			for range each {
				tag, err := increment(ctx, profiles)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				winners[tag]++
				mu.Unlock()
			}
		})
	}
	work.Wait()
	for tag, n := range winners {
		if n != 1 {
			t.Errorf("%d changes were made on the word of %s", n, tag)
		}
	}
	got, tag, err := profiles.GetTagged(ctx, "default:np")
	if err != nil || got.Burst != 100+clients*each {
		t.Errorf("%d changes left %+v, %v", clients*each, got, err)
	}
	if known, again, err := profiles.GetUnless(ctx, "default:np", tag); known != nil || again != tag || err != nil {
		t.Errorf("not changed since: %+v %s, %v", known, again, err)
	}
	if err := profiles.DeleteIf(ctx, "default:np", `"1-a"`); !client.IsChanged(err) {
		t.Errorf("deletion with an old tag: %v", err)
	}
	if err := profiles.DeleteIf(ctx, "default:np", tag); err != nil {
		t.Error(err)
	}
	if err := profiles.DeleteIf(ctx, "default:np", tag); client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("second deletion: %v", err)
	}
}

// increment adds one to the burst until nobody is faster, and gives the tag that it built on.
func increment(ctx context.Context, profiles client.Collection[client.Netprofile, *client.NetprofileOper]) (client.Tag, error) {
	for {
		p, tag, err := profiles.GetTagged(ctx, "default:np")
		if err != nil {
			return "", err
		}
		p.Burst++
		p.ResourceVersion = "" // the tag alone
		if _, _, err = profiles.PutIf(ctx, p, tag); err == nil || !client.IsChanged(err) {
			return tag, err
		}
	}
}
