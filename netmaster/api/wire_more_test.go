package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// put stores an object of tenant default under a name of one collection.
func (r *rig) put(collection, key, body string) string {
	r.t.Helper()
	return r.must("POST", "/api/v1/"+collection+"/"+key+"/", body)
}

const (
	policyBody  = `{"tenantName":"default","policyName":"p","link-sets":{"Rules":{"x":{}}},"links":{"Tenant":{"key":"x"}}}`
	ruleBody    = `{"tenantName":"default","policyName":"p","ruleId":"1","direction":"in","action":"deny","protocol":"tcp","port":80,"fromEndpointGroup":"g2"}`
	profileBody = `{"tenantName":"default","profileName":"np","bandwidth":"10 Mbps","DSCP":3,"burst":80}`
	serviceBody = `{"tenantName":"default","serviceName":"s","networkName":"n1","ports":["80:8080:TCP"],"selectors":["tier=web"]}`
)

func tenantLinks() string { return `"links":{"Tenant":{"type":"tenant","key":"default"}}` }

func linkOf(kind, key string) string {
	return `"` + key + `":{"type":"` + kind + `","key":"` + key + `"}`
}

func TestPolicyOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.2.0/24"`)
	equal(t, "new policy", r.put("policys", "default:p", policyBody),
		`{"key":"default:p","policyName":"p","tenantName":"default","link-sets":{},`+tenantLinks()+`}`)
	r.group("default", "g2", "")
	const rule = `{"key":"default:p:1","action":"deny","direction":"in","fromEndpointGroup":"g2","policyName":"p","port":80,"priority":1,` +
		`"protocol":"tcp","ruleId":"1","tenantName":"default","link-sets":{"Policies":{"default:p":{"type":"policy","key":"default:p"}}},` +
		`"links":{"MatchEndpointGroup":{"type":"endpointGroup","key":"default:g2"}}}`
	equal(t, "rule", r.put("rules", "default:p:1", ruleBody), rule)
	equal(t, "rule again", r.put("rules", "default:p:1", ruleBody), rule)
	equal(t, "rules", r.must("GET", "/api/v1/rules/", ""), "["+rule+"]")
	equal(t, "inspection of a rule", r.must("GET", "/api/v1/inspect/rules/default:p:1/", ""), `{"Config":`+rule+`}`)

	r.group("default", "g1", `,"policies":["p"]`)
	r.endpoint(protocol.CreateEndpointRequest{
		ID: protocol.EndpointID{Host: "h1", ContainerID: "c1", IfName: "eth0"}, Tenant: "default", Network: "n1", Groups: []string{"g1"},
	})
	policy := `{"key":"default:p","policyName":"p","tenantName":"default","link-sets":{"EndpointGroups":{` + linkOf("endpointGroup", "default:g1") +
		`},"Rules":{` + linkOf("rule", "default:p:1") + `}},` + tenantLinks() + `}`
	equal(t, "policies", r.must("GET", "/api/v1/policys/", ""), "["+policy+"]")
	equal(t, "inspection of the policy", r.must("GET", "/api/v1/inspect/policys/default:p/", ""), `{"Config":`+policy+`,"Oper":{"endpoints":[`+
		`{"containerID":"c1","endpointGroupId":2,"endpointGroupKey":"g1:default","endpointID":"c1","homingHost":"h1","intfName":"eth0",`+
		`"ipAddress":["10.1.2.1",""],"labels":"map[]","macAddress":"02:02:0a:01:02:01","network":"n1.default","serviceName":"g1"}],"numEndpoints":1}}`)
	got := r.must("GET", "/api/v1/endpointGroups/default:g2/", "")
	if !strings.Contains(got, `"link-sets":{"MatchRules":{`+linkOf("rule", "default:p:1")+`}}`) {
		t.Errorf("the group that the rule names: %s", got)
	}
	equal(t, "delete of a rule", r.must("DELETE", "/api/v1/rules/default:p:1/", ""), `"default:p:1"`)
	status, body, _ := r.ask("DELETE", "/api/v1/policys/default:p/", "")
	if status != http.StatusConflict || !strings.Contains(body, "Policy is being used") {
		t.Errorf("delete of a used policy: %d %s", status, body)
	}
}

func TestNetprofileOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.2.0/24"`)
	r.put("netprofiles", "default:np", profileBody)
	r.group("default", "g1", `,"netProfile":"np"`)
	profile := `{"key":"default:np","DSCP":3,"bandwidth":"10 Mbps","burst":80,"profileName":"np","tenantName":"default",` +
		`"link-sets":{"EndpointGroups":{` + linkOf("endpointGroup", "default:g1") + `}},` + tenantLinks() + `}`
	equal(t, "inspection", r.must("GET", "/api/v1/inspect/netprofiles/default:np/", ""), `{"Config":`+profile+`}`)
	got := r.must("GET", "/api/v1/endpointGroups/default:g1/", "")
	if !strings.Contains(got, `"NetProfile":{"type":"netprofile","key":"default:np"}`) {
		t.Errorf("group %s", got)
	}
	equal(t, "full replacement", r.put("netprofiles", "default:np", `{"tenantName":"default","profileName":"np","burst":2}`),
		strings.Replace(profile, `"DSCP":3,"bandwidth":"10 Mbps","burst":80`, `"burst":2`, 1))
}

func TestServiceOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.2.0/24"`)
	const service = `{"key":"default:s","networkName":"n1","ports":["80:8080:TCP"],"selectors":["tier=web"],"serviceName":"s","tenantName":"default",` +
		`"links":{"Network":{"type":"network","key":"default:n1"},"Tenant":{"type":"tenant","key":"default"}}}`
	equal(t, "service", r.put("serviceLBs", "default:s", serviceBody), service)
	r.endpoint(protocol.CreateEndpointRequest{
		ID: protocol.EndpointID{Host: "h1", ContainerID: "c1", IfName: "eth0"}, Tenant: "default", Network: "n1",
		ContainerName: "web", Labels: map[string]string{"tier": "web", "x": "y"},
	})
	equal(t, "inspection", r.must("GET", "/api/v1/inspect/serviceLBs/default:s/", ""), `{"Config":`+service+`,"Oper":{"numProviders":1,"providers":[`+
		`{"containerID":"c1","containerName":"web","endpointID":"c1","homingHost":"h1","intfName":"eth0","ipAddress":["10.1.2.2",""],`+
		`"labels":"map[tier:web x:y]","macAddress":"02:02:0a:01:02:02","network":"n1.default","serviceName":"s"}],"serviceVip":"10.1.2.1"}}`)
	const record = `[{"id":"s:default","servicename":"s","tenantname":"default","subnet":"n1","ports":["80:8080:TCP"],"selectors":{"tier":"web"},` +
		`"ipaddress":"10.1.2.1","providers":{"10.1.2.2:default":{"IPAddress":"10.1.2.2","ContainerID":"c1","Labels":{"tier":"web","x":"y"},` +
		`"Tenant":"default","Network":"n1","Services":["s:default"],"Container":"web","EpIDKey":"n1.default-c1"}}}]`
	equal(t, "services", r.must("GET", "/services", ""), record)
	equal(t, "one service", r.must("GET", "/service/s:default", ""), record)
	if status, body, _ := r.ask("GET", "/service/none:default", ""); status != http.StatusNotFound {
		t.Errorf("unknown service: %d %s", status, body)
	}
	got := r.must("GET", "/api/v1/networks/default:n1/", "")
	if !strings.Contains(got, `"Servicelbs":{`+linkOf("serviceLB", "default:s")+`}`) {
		t.Errorf("network %s", got)
	}
	inspected, err := r.api.Networks().Inspect(t.Context(), "default:n1")
	if err != nil || inspected.Oper.AllocatedIPAddresses != "10.1.2.1-10.1.2.2" {
		t.Errorf("addresses %+v, %v", inspected, err)
	}
}

func TestFabricObjectsOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	const speaker = `{"key":"h1","as":"65002","hostname":"h1","neighbor":"50.1.1.2","neighbor-as":"500","routerip":"50.1.1.1/24"}`
	equal(t, "Bgp", r.put("Bgps", "h1", speaker), speaker)
	equal(t, "inspection of Bgp", r.must("GET", "/api/v1/inspect/Bgps/h1/", ""), `{"Config":`+speaker+`,"Oper":{"adminStatus":"unknown","neighborStatus":"unknown","problem":"host \"h1\" has not registered"}}`)
	r.must("DELETE", "/api/v1/Bgps/h1/", "")
	const gateway = `{"key":"aciGw","enforcePolicies":"yes","includeCommonTenant":"no","name":"aciGw","physicalDomain":"dom"}`
	equal(t, "aciGw", r.put("aciGws", "aciGw", `{"physicalDomain":"dom"}`), gateway)
	equal(t, "aciGws", r.must("GET", "/api/v1/aciGws/", ""), "["+gateway+"]")

	r.network("default", "n1", `"subnet":"10.1.2.0/24"`)
	r.put("extContractsGroups", "default:x", `{"tenantName":"default","contractsGroupName":"x","contractsType":"provided","contracts":["uni/a"]}`)
	r.group("default", "g1", `,"extContractsGrps":["x"]`)
	r.put("appProfiles", "default:a", `{"tenantName":"default","appProfileName":"a","endpointGroups":["g1"]}`)
	groups := `"link-sets":{"EndpointGroups":{` + linkOf("endpointGroup", "default:g1") + `}}`
	equal(t, "contracts", r.must("GET", "/api/v1/inspect/extContractsGroups/default:x/", ""),
		`{"Config":{"key":"default:x","contracts":["uni/a"],"contractsGroupName":"x","contractsType":"provided","tenantName":"default",`+groups+`}}`)
	equal(t, "app profile", r.must("GET", "/api/v1/inspect/appProfiles/default:a/", ""),
		`{"Config":{"key":"default:a","appProfileName":"a","endpointGroups":["g1"],"tenantName":"default",`+groups+`,`+tenantLinks()+`}}`)
	equal(t, "inspection of aciGw", r.must("GET", "/api/v1/inspect/aciGws/aciGw/", ""), `{"Config":`+gateway+`,"Oper":{"numAppProfiles":1}}`)
	got := r.must("GET", "/api/v1/endpointGroups/default:g1/", "")
	if !strings.Contains(got, `"AppProfile":{"type":"appProfile","key":"default:a"}`) ||
		!strings.Contains(got, `"ExtContractsGrps":{`+linkOf("extContractsGroup", "default:x")+`}`) {
		t.Errorf("group %s", got)
	}
}

func TestTenantOfEverything(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.2.0/24"`)
	r.put("policys", "default:p", policyBody)
	r.put("netprofiles", "default:np", profileBody)
	r.put("serviceLBs", "default:s", serviceBody)
	r.put("appProfiles", "default:a", `{"tenantName":"default","appProfileName":"a"}`)
	got, err := r.api.Tenants().Inspect(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	o, l := got.Oper, got.Config.LinkSets
	if o.TotalPolicies != 1 || o.TotalNetprofiles != 1 || o.TotalServicelbs != 1 || o.TotalAppProfiles != 1 || o.TotalNetworks != 1 {
		t.Errorf("figures %+v", o)
	}
	if len(o.Policies) != 1 || len(o.Servicelbs) != 1 || o.Servicelbs[0].ServiceVip != "10.1.2.1" {
		t.Errorf("figures of its parts %+v", o)
	}
	for name, set := range map[string]client.LinkSet{
		"policy": l.Policies, "netprofile": l.NetProfiles, "serviceLB": l.Servicelbs, "appProfile": l.AppProfiles, "network": l.Networks,
	} {
		if len(set) != 1 {
			t.Errorf("links of %s: %v", name, set)
		}
		for key, link := range set {
			if link.Type != name || link.Key != key {
				t.Errorf("link %q: %+v", key, link)
			}
		}
	}
}

func TestVolumesAreEmpty(t *testing.T) {
	r := newRig(t, nil)
	for _, name := range []string{"volumes", "volumeProfiles"} {
		equal(t, name, r.must("GET", "/api/v1/"+name+"/", ""), "[]")
	}
}

// TestWarnings: what no host does yet is said where it is asked for, and nowhere else.
func TestWarnings(t *testing.T) {
	r := newRig(t, nil)
	var told []string
	c, err := client.New(r.url, client.Options{OnWarning: func(text string) { told = append(told, text) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx := t.Context()
	group := func(policies ...string) func() error {
		return func() error {
			_, err := c.EndpointGroups().Post(ctx, &client.EndpointGroup{EndpointGroup: state.EndpointGroup{
				TenantName: "default", GroupName: "g", NetworkName: "n", Policies: policies,
			}})
			return err
		}
	}
	network := func(name, encap, subnet string) func() error {
		return func() error {
			_, err := c.Networks().Post(ctx, &client.Network{Network: state.Network{TenantName: "default", NetworkName: name, Encap: encap, Subnet: subnet}})
			return err
		}
	}
	rule := func() error {
		_, err := c.Rules().Post(ctx, &client.Rule{Rule: state.Rule{
			TenantName: "default", PolicyName: "p", RuleID: "1", Action: state.ActionDeny, Direction: state.DirectionIn,
		}})
		return err
	}
	vlanGroup := func() error {
		_, err := c.EndpointGroups().Post(ctx, &client.EndpointGroup{EndpointGroup: state.EndpointGroup{
			TenantName: "default", GroupName: "vg", NetworkName: "v", Policies: []string{"p"},
		}})
		return err
	}
	for _, step := range []struct {
		what string
		do   func() error
		says string // "" for nothing
	}{
		{"a vxlan network", network("n", "vxlan", "10.1.0.0/24"), ""},
		{"a vlan network", network("v", "vlan", "10.2.0.0/24"), "VLANs"},
		{"a policy", func() error {
			_, err := c.Policies().Post(ctx, &client.Policy{Policy: state.Policy{TenantName: "default", PolicyName: "p"}})
			return err
		}, ""},
		{"a group without policies", group(), ""},
		{"a policy without rules on a group", group("p"), ""},
		{"a rule of a policy in use", rule, ""},
		{"a policy with rules on a group", group("p"), ""},
		{"a policy with rules on a group of a VLAN", vlanGroup, "enforce policies on VLANs"},
		{"a rule of a policy in use on a VLAN", rule, "enforce policies on VLANs"},
		{"a list", func() error { _, err := c.Networks().List(ctx); return err }, ""},
	} {
		told = nil
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if (step.says == "") != (len(told) == 0) || step.says != "" && !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, step.says) }) {
			t.Errorf("%s: warned of %q, want %q", step.what, told, step.says)
		}
	}
	status, _, header := r.ask("PUT", "/api/v1/networks/default:v/", `{"tenantName":"default","networkName":"v","encap":"vlan","subnet":"10.2.0.0/24"}`)
	if got := header.Get("Warning"); status != http.StatusOK || !strings.HasPrefix(got, `299 - "hosts do not carry VLANs yet`) {
		t.Errorf("header %q, status %d", got, status)
	}
}
