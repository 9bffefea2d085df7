package cni

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/contiv/contiv/mgmtfn"
)

func TestAttachRequest(t *testing.T) {
	for name, one := range map[string]struct {
		config string // members beside the name
		args   string
		want   mgmtfn.AttachRequest
	}{
		"nothing said":     {want: mgmtfn.AttachRequest{Tenant: "default", Network: "default-net"}},
		"a group alone":    {config: `"group":"web"`, want: mgmtfn.AttachRequest{Tenant: "default", Groups: []string{"web"}}},
		"several groups":   {config: `"group":"web, db,web"`, want: mgmtfn.AttachRequest{Tenant: "default", Groups: []string{"db", "web"}}},
		"groups in args":   {args: "CONTIV_GROUP=web,db", want: mgmtfn.AttachRequest{Tenant: "default", Groups: []string{"db", "web"}}},
		"configuration":    {config: `"tenant":"t","network":"n","group":"g"`, want: mgmtfn.AttachRequest{Tenant: "t", Network: "n", Groups: []string{"g"}}},
		"CNI_ARGS win":     {config: `"tenant":"t","network":"n"`, args: "CONTIV_NETWORK=m", want: mgmtfn.AttachRequest{Tenant: "t", Network: "m"}},
		"args win":         {config: `"network":"n","args":{"contiv":{"network":"o","name":"x"}}`, args: "CONTIV_NETWORK=m;CONTIV_NAME=y", want: mgmtfn.AttachRequest{Tenant: "default", Network: "o", ContainerName: "x"}},
		"taken back":       {config: `"network":"n","group":"g"`, args: "CONTIV_GROUP=", want: mgmtfn.AttachRequest{Tenant: "default", Network: "n"}},
		"pod":              {args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=u;K8S_POD_INFRA_CONTAINER_ID=c;X=y", want: mgmtfn.AttachRequest{Tenant: "default", Network: "default-net", ContainerName: "b", RuntimeID: "u"}},
		"address":          {args: "IP=10.1.1.1/24", want: mgmtfn.AttachRequest{Tenant: "default", Network: "default-net", IPv4: netip.MustParseAddr("10.1.1.1")}},
		"both families":    {args: "IP=10.1.1.1,fd00::1", want: mgmtfn.AttachRequest{Tenant: "default", Network: "default-net", IPv4: netip.MustParseAddr("10.1.1.1"), IPv6: netip.MustParseAddr("fd00::1")}},
		"args.cni wins":    {config: `"args":{"cni":{"ips":["fd00::2/64"],"labels":[{"key":"app","value":"web"}]}}`, args: "IP=10.1.1.1", want: mgmtfn.AttachRequest{Tenant: "default", Network: "default-net", IPv6: netip.MustParseAddr("fd00::2"), Labels: map[string]string{"app": "web"}}},
		"capabilities win": {config: `"capabilities":{"ips":true,"mac":true},"runtimeConfig":{"ips":["10.1.1.3/24"],"mac":"02:00:00:00:00:0A","portMappings":[]},"args":{"cni":{"ips":["10.1.1.2"]}}`, want: mgmtfn.AttachRequest{Tenant: "default", Network: "default-net", IPv4: netip.MustParseAddr("10.1.1.3"), MAC: "02:00:00:00:00:0a"}},
		"others' args":     {config: `"args":{"org.example":{"a":1}},"cni.dev/anything":1,"dns":{},"ipam":{}`, want: mgmtfn.AttachRequest{Tenant: "default", Network: "default-net"}},
	} {
		t.Run(name, func(t *testing.T) {
			data := []byte(`{"name":"conf"}`)
			if one.config != "" {
				data = []byte(`{"name":"conf",` + one.config + `}`)
			}
			conf, err := parseConf(data)
			if err != nil {
				t.Fatal(err)
			}
			if err := conf.checkKeys(data); err != nil {
				t.Fatal(err)
			}
			got, err := attachRequest(&request{ContainerID: "c", IfName: "eth0", NetNS: "/ns", Args: one.args}, conf)
			if err != nil {
				t.Fatal(err)
			}
			one.want.ContainerID, one.want.IfName, one.want.NetNS = "c", "eth0", "/ns"
			one.want.Owner, one.want.Notes = Owner, map[string]string{noteConfig: "conf"}
			if diff := cmp.Diff(one.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzConfig: whatever a runtime sends, the answer is a request with a place to go, or a CNI error.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"name":"n","tenant":"t","args":{"contiv":{"network":"x"}}}`), "CONTIV_GROUP=g;IP=10.0.0.1")
	f.Add([]byte(`{"name":"n","runtimeConfig":{"ips":["::ffff:1.2.3.4"],"mac":"00:00:5e:00:53:01"}}`), "IgnoreUnknown=true;;A=b")
	f.Fuzz(func(t *testing.T, config []byte, args string) {
		conf, err := parseConf(config)
		if err == nil {
			err = conf.checkKeys(config)
		}
		var want mgmtfn.AttachRequest
		if err == nil {
			want, err = attachRequest(&request{Args: args}, conf)
		}
		var failure *types.Error
		if err != nil && !errors.As(err, &failure) {
			t.Fatalf("not a CNI error: %v", err)
		}
		if err != nil {
			return
		}
		if want.Tenant == "" || want.Network == "" && len(want.Groups) == 0 {
			t.Errorf("nowhere to go: %+v", want)
		}
		if want.IPv4.IsValid() && !want.IPv4.Is4() || want.IPv6.IsValid() && (!want.IPv6.Is6() || want.IPv6.Is4In6()) {
			t.Errorf("families mixed up: %+v", want)
		}
		if strings.Contains(";"+args, ";CONTIV_X=") {
			t.Errorf("an unknown key of ours passed: %s", args)
		}
	})
}
