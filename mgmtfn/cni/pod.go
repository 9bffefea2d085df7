package cni

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/contiv/contiv/mgmtfn"
)

// podRequest and podReply are the words of the original plugin, which an older contivk8s on the host still uses.
type podRequest struct {
	Name             string `json:"K8S_POD_NAME"`
	Namespace        string `json:"K8S_POD_NAMESPACE"`
	InfraContainerID string `json:"K8S_POD_INFRA_CONTAINER_ID"`
	NetNS            string `json:"CNI_NETNS"`
	IfName           string `json:"CNI_IFNAME"`
}

type podReply struct {
	Result      uint   `json:"result"` // 0: done
	EndpointID  string `json:"endpointid,omitempty"`
	IPAddress   string `json:"ipaddress,omitempty"`
	IPv6Address string `json:"ipv6address,omitempty"`
	ErrMsg      string `json:"errmsg,omitempty"`
	ErrInfo     string `json:"errinfo,omitempty"`
}

// podConfig is the configuration name that attachments of the original plugin are kept under: it sends none.
const podConfig = "contiv-net"

func (s *Server) servePod(do func(context.Context, podRequest) (podReply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var (
			pod    podRequest
			answer podReply
		)
		err := decode(w, r, &pod)
		if err == nil {
			ctx, cancel := context.WithTimeout(r.Context(), serveTimeout)
			defer cancel()
			answer, err = do(ctx, pod)
		}
		if err != nil {
			failure := asError(err)
			s.log.WithField("pod", pod.Name).WithField("code", failure.Code).Warn(failure.Error())
			answer = podReply{Result: failure.Code, ErrMsg: failure.Msg, ErrInfo: failure.Details}
			w.WriteHeader(http.StatusInternalServerError)
		}
		_ = json.NewEncoder(w).Encode(answer) // The caller went away: nothing to tell it.
	}
}

func (s *Server) addPod(ctx context.Context, pod podRequest) (podReply, error) {
	if pod.InfraContainerID == "" {
		return podReply{}, types.NewError(types.ErrInvalidEnvironmentVariables, "K8S_POD_INFRA_CONTAINER_ID is needed", "")
	}
	if err := checkTarget(pod.NetNS, pod.IfName); err != nil {
		return podReply{}, err
	}
	made, err := s.agent.Attach(ctx, mgmtfn.AttachRequest{
		ContainerID:   pod.InfraContainerID,
		IfName:        pod.IfName,
		Tenant:        defaultTenant,
		Network:       defaultNetwork,
		NetNS:         pod.NetNS,
		ContainerName: pod.Name,
		Owner:         Owner,
		Notes:         map[string]string{noteConfig: podConfig},
	})
	if err != nil {
		return podReply{}, err
	}
	answer := podReply{EndpointID: made.Network + "." + made.Tenant + "-" + made.ID.ContainerID, IPAddress: made.IPv4.String()}
	if made.IPv6.IsValid() {
		answer.IPv6Address = made.IPv6.String()
	}
	return answer, nil
}

func (s *Server) delPod(ctx context.Context, pod podRequest) (podReply, error) {
	if pod.InfraContainerID == "" || pod.IfName == "" {
		return podReply{}, types.NewError(types.ErrInvalidEnvironmentVariables,
			"K8S_POD_INFRA_CONTAINER_ID and CNI_IFNAME are needed", "")
	}
	err := s.agent.Detach(ctx, pod.InfraContainerID, pod.IfName)
	return podReply{}, err
}
