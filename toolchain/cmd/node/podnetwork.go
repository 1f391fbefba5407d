package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/coreos/go-iptables/iptables"
	"github.com/vishvananda/netlink"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// The node's part of the pod network: the CNI configuration with the node's range of addresses, a route to the range of
// every other node, and NetworkPolicies. The nodes are containers on one network of Docker's: each is the next hop of
// its pods. NetworkPolicies are enforced by kube-router's controller alone; its router and service proxy aren't here.
const (
	conflist = "/etc/cni/net.d/10-pod-network.conflist"
	// by which our routes are known among others; any number that no routing daemon has (/etc/iproute2/rt_protos)
	routeProtocol netlink.RouteProtocol = 86
	resyncPeriod                        = 30 * time.Second
)

// ptp: every packet between pods is routed, and so passes the FORWARD chain, where policies are.
const cniConfiguration = `{
  "cniVersion": "0.4.0",
  "name": "pod-network",
  "plugins": [
    {"type": "ptp", "mtu": %d, "ipam": {"type": "host-local", "ranges": [[{"subnet": "%s"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

type podNetwork struct {
	node  string
	nodes cache.SharedIndexInformer
	mtu   int
}

func runPodNetwork() {
	if err := servePodNetwork(os.Getenv("NODE_NAME"), os.Getenv("POD_CIDR"), os.Getenv("SERVICE_CIDR")); err != nil {
		klog.Fatal(err)
	}
}

// servePodNetwork works until SIGTERM. What it has set up stays: pods go on to reach each other, and policies hold.
func servePodNetwork(node, podCIDR, serviceCIDR string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := masquerade(podCIDR); err != nil {
		return fmt.Errorf("while masquerading what leaves %s: %w", podCIDR, err)
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("while looking for the API server: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("while connecting to the API server: %w", err)
	}
	mtu, err := defaultRouteMTU()
	if err != nil {
		return fmt.Errorf("while looking for the MTU: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	network := podNetwork{node: node, nodes: factory.Core().V1().Nodes().Informer(), mtu: mtu}
	changed := make(chan struct{}, 1)
	if _, err := network.nodes.AddEventHandler(signalling(changed)); err != nil {
		return err
	}
	if err := awaitNode(ctx, client, node); err != nil {
		return err
	}
	policies, err := newPolicies(client, factory, serviceCIDR)
	if err != nil {
		return fmt.Errorf("while setting up NetworkPolicies: %w", err)
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("while asking the API server for every %s: no answer", kind)
		}
	}
	var working sync.WaitGroup
	working.Add(1)
	go policies.Run(takingHeartbeats(), ctx.Done(), &working)
	network.follow(ctx, changed)
	working.Wait()
	return nil
}

// follow keeps configuration and routes as the nodes are. What fails is tried again at the next change or resync.
func (network podNetwork) follow(ctx context.Context, changed <-chan struct{}) {
	ticker := time.NewTicker(resyncPeriod)
	defer ticker.Stop()
	for {
		if err := network.sync(); err != nil {
			klog.ErrorS(err, "while setting up the pod network")
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
	}
}

func (network podNetwork) sync() error {
	wanted := map[string]net.IP{}
	for _, each := range network.nodes.GetStore().List() {
		node := each.(*v1.Node)
		if node.Spec.PodCIDR == "" {
			continue
		}
		if node.Name == network.node {
			if err := writeConfiguration(node.Spec.PodCIDR, network.mtu); err != nil {
				return err
			}
		} else if address := internalIP(node); address != nil {
			wanted[node.Spec.PodCIDR] = address
		}
	}
	return syncRoutes(wanted)
}

// writeConfiguration makes kubelet report the node as ready: pods may be made from now on.
func writeConfiguration(podCIDR string, mtu int) error {
	text := []byte(fmt.Sprintf(cniConfiguration, mtu, podCIDR))
	if present, err := os.ReadFile(conflist); err == nil && bytes.Equal(present, text) {
		return nil
	}
	part := filepath.Join(filepath.Dir(conflist), ".pod-network.part")
	if err := os.WriteFile(part, text, 0o644); err != nil {
		return err
	}
	return os.Rename(part, conflist)
}

// syncRoutes makes our routes those to the wanted ranges, by their next hops, and no others.
func syncRoutes(wanted map[string]net.IP) error {
	present, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("while listing routes: %w", err)
	}
	for _, route := range present {
		if route.Dst == nil || wanted[route.Dst.String()] == nil {
			if err := netlink.RouteDel(&route); err != nil {
				return fmt.Errorf("while removing the route to %s: %w", route.Dst, err)
			}
		}
	}
	for podCIDR, nextHop := range wanted {
		_, destination, err := net.ParseCIDR(podCIDR)
		if err != nil {
			return err
		}
		if err := netlink.RouteReplace(&netlink.Route{Dst: destination, Gw: nextHop, Protocol: routeProtocol}); err != nil {
			return fmt.Errorf("while setting the route to %s by %s: %w", destination, nextHop, err)
		}
	}
	return nil
}

// masquerade gives what pods send out of the pod network the node's address; between pods addresses stay, since
// NetworkPolicies know pods by them.
func masquerade(podCIDR string) error {
	handler, err := iptables.New()
	if err != nil {
		return err
	}
	return handler.AppendUnique("nat", "POSTROUTING", "-s", podCIDR, "!", "-d", podCIDR,
		"-m", "comment", "--comment", "pod-network", "-j", "MASQUERADE")
}

// awaitNode waits for the API server: on a new node kube-proxy may not have its Service's address programmed yet.
func awaitNode(ctx context.Context, client kubernetes.Interface, name string) error {
	for {
		_, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			return nil
		}
		klog.InfoS("Waiting for the API server", "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("while asking the API server for node %s: %w", name, err)
		case <-time.After(time.Second):
		}
	}
}

func newPolicies(client kubernetes.Interface, factory informers.SharedInformerFactory, serviceCIDR string) (*netpol.NetworkPolicyController, error) {
	settings := options.NewKubeRouterConfig()
	settings.EnableIPv4, settings.EnableIPv6 = true, false
	settings.ClusterIPCIDRs = []string{serviceCIDR}
	settings.IPTablesSyncPeriod = resyncPeriod
	tables, sets, err := netpol.NewIPTablesHandlers(settings)
	if err != nil {
		return nil, err
	}
	pods, namespaces := factory.Core().V1().Pods().Informer(), factory.Core().V1().Namespaces().Informer()
	known := factory.Networking().V1().NetworkPolicies().Informer()
	controller, err := netpol.NewNetworkPolicyController(client, settings, pods, known, namespaces, &sync.Mutex{}, tables, sets)
	if err != nil {
		return nil, err
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods: controller.PodEventHandler, namespaces: controller.NamespaceEventHandler, known: controller.NetworkPolicyEventHandler,
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, err
		}
	}
	return controller, nil
}

// takingHeartbeats takes what the controller would wait for ever to be rid of.
func takingHeartbeats() chan<- *healthcheck.ControllerHeartbeat {
	heartbeats := make(chan *healthcheck.ControllerHeartbeat)
	go func() {
		for range heartbeats {
		}
	}()
	return heartbeats
}

func internalIP(node *v1.Node) net.IP {
	for _, address := range node.Status.Addresses {
		if address.Type == v1.NodeInternalIP {
			return net.ParseIP(address.Address)
		}
	}
	return nil
}

// defaultRouteMTU is that of the interface by which the node reaches all others.
func defaultRouteMTU() (int, error) {
	routes, err := netlink.RouteGet(net.IPv4(192, 0, 2, 1))
	if err != nil {
		return 0, err
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return 0, err
	}
	return link.Attrs().MTU, nil
}

// signalling says that something changed; not what, and not twice when nobody has looked yet.
func signalling(changed chan<- struct{}) cache.ResourceEventHandler {
	tell := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { tell() },
		UpdateFunc: func(_, _ any) { tell() },
		DeleteFunc: func(any) { tell() },
	}
}
