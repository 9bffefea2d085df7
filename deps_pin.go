

package pin

import (
	_ "github.com/cenkalti/backoff/v5"
	_ "github.com/containernetworking/cni/libcni"
	_ "github.com/containernetworking/cni/pkg/skel"
	_ "github.com/contiv/libOpenflow/openflow13"
	_ "github.com/docker/docker/client"
	_ "github.com/docker/go-plugins-helpers/ipam"
	_ "github.com/docker/go-plugins-helpers/network"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/google/uuid"
	_ "github.com/gorilla/mux"
	_ "github.com/ovn-kubernetes/libovsdb/client"
	_ "github.com/safchain/ethtool"
	_ "github.com/sirupsen/logrus"
	_ "github.com/sourcegraph/jsonrpc2"
	_ "github.com/urfave/cli/v2"
	_ "github.com/vishvananda/netlink"
	_ "github.com/vishvananda/netns"
	_ "go.etcd.io/etcd/client/v3"
	_ "go.etcd.io/etcd/server/v3/embed"
	_ "go.uber.org/goleak"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/time/rate"
	_ "go.uber.org/zap"
)
