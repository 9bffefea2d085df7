package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/state"
)

// keysIn are the keys of a list.
func keysIn(t *testing.T, body string) []string {
	t.Helper()
	var objects []struct{ Key string }
	if err := json.Unmarshal([]byte(body), &objects); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	keys := []string{}
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}

// someNetworks are networks of two tenants, of which one's name begins as the other's.
func someNetworks(r *rig) {
	for i, tenant := range []string{"blue", "blue-2"} {
		r.must("POST", "/api/v1/tenants/"+tenant+"/", `{"tenantName":"`+tenant+`"}`)
		for n := range 3 {
			r.network(tenant, fmt.Sprintf("n%d", n), fmt.Sprintf(`"subnet":"10.%d.%d.0/24"`, i+1, n))
		}
		r.network(tenant, "v", fmt.Sprintf(`"encap":"vlan","pktTag":%d,"subnet":"10.%d.9.0/24"`, 100+i, i+1))
	}
}

func TestFilters(t *testing.T) {
	r := newRig(t, nil)
	someNetworks(r)
	for query, want := range map[string]string{
		"":                                    "blue-2:n0 blue-2:n1 blue-2:n2 blue-2:v blue:n0 blue:n1 blue:n2 blue:v",
		"tenantName=blue":                     "blue:n0 blue:n1 blue:n2 blue:v",
		"tenantName=blue-2&encap=vlan":        "blue-2:v",
		"encap=vlan":                          "blue-2:v blue:v",
		"pktTag=100":                          "blue:v",
		"pktTag=0&tenantName=blue":            "blue:n0 blue:n1 blue:n2",
		"gateway=&networkName=n1":             "blue-2:n1 blue:n1",
		"tenantName=bl":                       "",
		"tenantName=":                         "",
		"tenantName=blue:n":                   "",
		"tenantName=red&consistency=cache":    "",
		"limit=2&tenantName=blue&watch=false": "blue:n0 blue:n1",
		"limit=4&tenantName=blue":             "blue:n0 blue:n1 blue:n2 blue:v",
	} {
		for _, path := range []string{"/api/v1/networks/?", "/api/v1/networks?"} {
			status, body, header := r.ask("GET", path+query, "")
			if status != 200 || strings.Join(keysIn(t, body), " ") != want {
				t.Errorf("%s%s: %d %s, want %s", path, query, status, body, want)
			}
			if header.Get(client.RevisionHeader) == "" || (header.Get("Link") != "") != strings.HasPrefix(query, "limit=2") {
				t.Errorf("%s%s: %v", path, query, header)
			}
		}
	}
	equal(t, "a tenant by name", r.must("GET", "/api/v1/tenants/?tenantName=red", ""), "[]")
	equal(t, "none there can be", r.must("GET", "/api/v1/volumes/?limit=3", ""), "[]")
	for query, want := range map[string]string{
		"/networks/?colour=red": "encap, gateway", "/networks/?pktTag=x": "whole number", "/networks/?encap=a&encap=b": "2 times",
		"/networks/?limit=0": "above 0", "/networks/?limit=-1": "above 0", "/networks/?limit=x": "above 0", "/networks/?limit=9999999999999999999": "above 0",
		"/networks/?%zz": "cannot be read", "/networks/?a;b": "cannot be read", "/networks/?key=x": "encap, gateway", "/networks/?tenantname=blue": "tenantName",
		"/endpointGroups/?policies=p": "groupName", "/globals/?tenantName=x": "arpMode", "/networks/?since=4": "watch=true",
		"/networks/?watch=yes": "true or false", "/networks/?continue=": "begin again", "/networks/?continue=%21": "begin again",
		"/networks/?consistency=x": "cache", "/volumes/?tenantName=x": "volumes",
	} {
		if status, body, _ := r.ask("GET", "/api/v1"+query, ""); status != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

func TestPages(t *testing.T) {
	r := newRig(t, nil)
	someNetworks(r)
	all := keysIn(t, r.must("GET", "/api/v1/networks/", ""))
	for limit := 1; limit <= len(all)+1; limit++ {
		var got []string
		pages := 0
		for page, err := range r.api.Networks().Pages(t.Context(), client.ListOptions{Page: limit}) {
			if err != nil {
				t.Fatal(err)
			}
			if pages++; page.Revision == 0 || len(page.Objects) > limit {
				t.Errorf("page of %d at %d", len(page.Objects), page.Revision)
			}
			for _, n := range page.Objects {
				got = append(got, n.ModelKey)
			}
		}
		if !slices.Equal(got, all) || pages != (len(all)+limit-1)/limit {
			t.Errorf("%d by %d: %d pages of %q", len(all), limit, pages, got)
		}
	}
	var some []string
	for n, err := range r.api.Networks().All(t.Context(), client.ListOptions{Page: 1, Where: map[string]string{"encap": "vxlan", "tenantName": "blue"}}) {
		if err != nil {
			t.Fatal(err)
		}
		some = append(some, n.ModelKey)
	}
	if !slices.Equal(some, []string{"blue:n0", "blue:n1", "blue:n2"}) {
		t.Errorf("chosen: %q", some)
	}
	for _, err := range r.api.Networks().All(t.Context(), client.ListOptions{Where: map[string]string{"colour": "red"}}) {
		if client.StatusOf(err) != 400 {
			t.Errorf("unknown field: %v", err)
		}
	}
	_, _, header := r.ask("GET", "/api/v1/networks?limit=2&encap=vxlan", "")
	next := strings.TrimSuffix(strings.TrimPrefix(header.Get("Link"), "<"), `>; rel="next"`)
	if got := keysIn(t, r.must("GET", next, "")); !slices.Equal(got, []string{"blue-2:n2", "blue:n0"}) {
		t.Errorf("%s: %q", next, got)
	}
	token := next[strings.Index(next, "continue="):]
	token = token[:strings.IndexByte(token+"&", '&')]
	forged := base64.RawURLEncoding.EncodeToString([]byte(`{"c":"networks","k":""}`))
	for _, query := range []string{"rules/?" + token, "networks/?" + token, "networks/?encap=vlan&" + token, "networks/?encap=vxlan&" + token + "x", "networks/?continue=" + forged} {
		if status, body, _ := r.ask("GET", "/api/v1/"+query, ""); status != 400 {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

// What comes and goes while one turns the pages moves nothing else.
func TestPagesWhileOthersWrite(t *testing.T) {
	r := newRig(t, nil)
	stay := map[string]bool{}
	for i := range 30 {
		name := fmt.Sprintf("n%02d", i)
		r.put("netprofiles", "default:"+name, `{"tenantName":"default","profileName":"`+name+`"}`)
		if i%3 == 0 {
			stay["default:"+name] = true
		}
	}
	seen, last, round := map[string]bool{}, "", 0
	for page, err := range r.api.Netprofiles().Pages(t.Context(), client.ListOptions{Page: 4}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Objects {
			if p.ModelKey <= last || seen[p.ModelKey] {
				t.Errorf("%s comes after %s", p.ModelKey, last)
			}
			last = p.ModelKey
			seen[last] = true
		}
		// One goes before, at, and after the end of the page, and others come.
		for _, p := range []int{round, round*4 + 3, round*4 + 4, round*4 + 7} {
			if key := fmt.Sprintf("default:n%02d", p); !stay[key] {
				r.ask("DELETE", "/api/v1/netprofiles/"+key+"/", "")
			}
			name := fmt.Sprintf("n%02d-%d", p, round)
			r.put("netprofiles", "default:"+name, `{"tenantName":"default","profileName":"`+name+`"}`)
		}
		round++
	}
	for key := range stay {
		if !seen[key] {
			t.Errorf("%s was there all the time and is not listed: %q", key, slices.Sorted(maps.Keys(seen)))
		}
	}
}

// fill writes profiles past the API.
func (r *rig) fill(tb testing.TB, tenants, each int) {
	tb.Helper()
	var ops []objdb.Op
	write := func() {
		if _, err := r.store.Commit(tb.Context(), objdb.Txn{Then: ops}); err != nil {
			tb.Fatal(err)
		}
		ops = nil
	}
	for tenant := range tenants {
		for i := range each {
			record := &state.Netprofile{TenantName: fmt.Sprintf("t%d", tenant), ProfileName: fmt.Sprintf("p%05d", i), Burst: i}
			value, err := state.Encode(record)
			if err != nil {
				tb.Fatal(err)
			}
			if ops = append(ops, objdb.Put(record.StoreKey(), value)); len(ops) == objdb.MaxTxnOps {
				write()
			}
		}
	}
	if len(ops) > 0 {
		write()
	}
}

// answered is how long the handler takes for a request, at best.
func answered(tb testing.TB, handler http.Handler, path string) (best time.Duration, body string) {
	tb.Helper()
	for range 5 {
		request := httptest.NewRequestWithContext(tb.Context(), "GET", path, nil)
		answer := httptest.NewRecorder()
		began := time.Now()
		handler.ServeHTTP(answer, request)
		if took := time.Since(began); best == 0 || took < best {
			best = took
		}
		if answer.Code != http.StatusOK {
			tb.Fatalf("%s: %d %s", path, answer.Code, answer.Body)
		}
		body = answer.Body.String()
	}
	return best, body
}

// A page of 20 000 objects costs what a page of 200 does, wherever it is; a tenant is found at once.
func TestPagesAreProportional(t *testing.T) {
	small, large := newRig(t, nil), newRig(t, nil)
	small.fill(t, 2, 100)
	large.fill(t, 2, 10_000)
	few, many := api.Handler(small.options), api.Handler(large.options)
	one, _ := answered(t, few, "/api/v1/netprofiles/?limit=50")
	whole, body := answered(t, many, "/api/v1/netprofiles/")
	if n := len(keysIn(t, body)); n != 20_000 {
		t.Fatalf("%d objects", n)
	}
	next := func(path string) string {
		request := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
		answer := httptest.NewRecorder()
		many.ServeHTTP(answer, request)
		return strings.TrimSuffix(strings.TrimPrefix(answer.Header().Get("Link"), "<"), `>; rel="next"`)
	}
	for what, path := range map[string]string{
		"the first page": "/api/v1/netprofiles/?limit=50", "a page in the middle": next("/api/v1/netprofiles/?limit=50&continue=" + after("netprofiles", "t1:p05000")),
		"a tenant's": "/api/v1/netprofiles/?limit=50&tenantName=t1", "none of a tenant": "/api/v1/netprofiles/?tenantName=t2",
	} {
		took, _ := answered(t, many, path)
		t.Logf("%s: %v (of 200 objects: %v; the whole list: %v)", what, took, one, whole)
		if took > 10*one+time.Millisecond {
			t.Errorf("%s of 20 000 takes %v, of 200 %v", what, took, one)
		}
	}
}

func after(collection, key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"c":"` + collection + `","k":"` + key + `"}`))
}

// FuzzQuery asks anything of lists: what is answered is what a slow reading of the query chooses, page by page.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"", "tenantName=blue", "encap=vlan&pktTag=100", "limit=3", "limit=2&continue=" + after("networks", "blue:n1"), "pktTag=%30&watch=false",
		"limit=1&limit=2", "consistency=cache&limit=%2B4", "%zz", "a;b", "since=1", "tenantName=blue%3An0", "gateway=", "pktTag=-0",
	} {
		f.Add(seed)
	}
	r := newRig(f, nil)
	someNetworks(r)
	handler := api.Handler(r.options)
	var all []client.Network
	if err := json.Unmarshal([]byte(r.must("GET", "/api/v1/networks/", "")), &all); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		words, err := url.ParseQuery(query)
		if _, unusable := url.ParseRequestURI("/?" + query); unusable != nil || words.Get("watch") == "true" {
			return
		}
		request := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/networks/", nil)
		request.URL.RawQuery = query
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		want, ok := slowly(all, words)
		switch {
		case answer.Code != http.StatusOK && answer.Code != http.StatusBadRequest:
			t.Errorf("%q: %d %s", query, answer.Code, answer.Body)
		case (answer.Code == http.StatusOK) != (ok && err == nil):
			t.Errorf("%q: %d %s, and a slow reading says %v %v", query, answer.Code, answer.Body, ok, err)
		case answer.Code == http.StatusOK && !slices.Equal(keysIn(t, answer.Body.String()), want):
			t.Errorf("%q: %s, want %q", query, answer.Body, want)
		}
	})
}

// slowly chooses networks as a query says, false if it makes no sense. It knows nothing of the server's reading.
func slowly(all []client.Network, words url.Values) (keys []string, ok bool) {
	keys, limit, behind := []string{}, len(all), ""
	rest := maps.Clone(words)
	for name, values := range words {
		if len(values) != 1 {
			return nil, false
		}
		switch value := values[0]; name {
		case "limit":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				return nil, false
			}
			limit = n
		case "consistency":
			if value != "" && value != "cache" {
				return nil, false
			}
		case "watch":
			if value != "" && value != "false" {
				return nil, false
			}
		case "continue":
			continue
		default:
			continue
		}
		delete(rest, name)
	}
	if words.Has("continue") {
		delete(rest, "continue")
		data, err := base64.RawURLEncoding.DecodeString(words.Get("continue"))
		var token struct{ C, F, K string }
		if err != nil || json.Unmarshal(data, &token) != nil || token.C != "networks" || token.F != rest.Encode() || token.K == "" {
			return nil, false
		}
		behind = token.K
	}
	for _, n := range all {
		texts := map[string]string{
			"cfgdTag": n.CfgdTag, "encap": n.Encap, "gateway": n.Gateway, "ipv6Gateway": n.IPv6Gateway, "ipv6Subnet": n.IPv6Subnet,
			"networkName": n.NetworkName, "nwType": n.NwType, "subnet": n.Subnet, "tenantName": n.TenantName,
		}
		chosen := n.ModelKey > behind
		for name, values := range rest {
			if name == "pktTag" {
				tag, err := strconv.ParseInt(values[0], 10, 64)
				if err != nil {
					return nil, false
				}
				chosen = chosen && tag == int64(n.PktTag)
				continue
			}
			text, known := texts[name]
			if !known {
				return nil, false
			}
			chosen = chosen && text == values[0]
		}
		if chosen && len(keys) < limit {
			keys = append(keys, n.ModelKey)
		}
	}
	return keys, true
}
