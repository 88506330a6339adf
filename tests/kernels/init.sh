#!/bin/busybox sh
# First process of a guest: the host's files, read-only below a tmpfs, become its root.
# switch_root, not chroot: the kernel's own modprobe looks in the first root, and user namespaces
# refuse a chrooted process.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do $b insmod "$module"; done
. /guest.env # release, modules
$b mount -t virtiofs -o ro root /host
$b mount -t tmpfs -o size=75% tmpfs /above
$b mkdir /above/upper /above/work
$b mount -t overlay -o lowerdir=/host,upperdir=/above/upper,workdir=/above/work overlay /new
$b mkdir -p "/new/lib/modules/$release"
$b mount -o bind "/host$modules" "/new/lib/modules/$release"
for kept in proc sys dev; do $b mount -o move /$kept /new/$kept; done
$b mkdir -p /new/dev/pts /new/dev/shm
$b mount -t devpts devpts /new/dev/pts
for fresh in dev/shm run; do $b mount -t tmpfs tmpfs /new/$fresh; done
$b mount -t bpf bpf /new/sys/fs/bpf
$b mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
$b cp /command /new/run/command
# The second serial line carries results; raw, so that they arrive as they are. Its last line is the
# verdict, and without one the guest has failed.
$b cat >/new/run/first <<'END'
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
stty -F /dev/ttyS1 raw
ip link set lo up
sh /run/command </dev/null 3>/dev/ttyS1
printf '\nrc=%d\n' $? >/dev/ttyS1
sync
echo b >/proc/sysrq-trigger
END
$b chmod +x /new/run/first
exec $b switch_root /new /run/first </dev/console >/dev/console 2>&1
