# The first process of a cluster's namespaces: gives them a network, run folders and cgroups, then reaps what is orphaned.
set -eu
cluster=$1
cgroup=$2
address=$3

ip link set lo up
ip link add node0 type bridge
ip address add "$address/32" dev node0
ip link set node0 up
echo 1 > /proc/sys/net/ipv4/ip_forward

# What the node's programs write below /run and /var is gone with them.
mount -t tmpfs -o mode=755 devcluster /run
mkdir /run/kubelet /run/upper /run/work
mkdir -p "$cluster/kubelet"
mount --bind "$cluster/kubelet" /run/kubelet
mount -t overlay -o lowerdir=/var,upperdir=/run/upper,workdir=/run/work devcluster /var

for hierarchy in /sys/fs/cgroup/*/; do
    [ -L "${hierarchy%/}" ] || mkdir -p "$hierarchy$cgroup"
done

touch "$cluster/node.ready"
sleep infinity &
wait
