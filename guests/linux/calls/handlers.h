// The handlers of the system calls, by the file that has them. Each is the call of its name unless
// a comment of its file says more; the arguments are checked there, by nobody before.
#pragma once

#include "guests/linux/kernel/call.h"

namespace stasis::linux_guest {

// calls_descriptors.cc
SysResult sys_close(Call& call);
SysResult sys_close_range(Call& call);
SysResult sys_dup(Call& call);
SysResult sys_dup2(Call& call);
SysResult sys_dup3(Call& call);
SysResult sys_fcntl(Call& call);
SysResult sys_ioctl(Call& call);
SysResult sys_sync_descriptor(Call& call);
SysResult sys_flock(Call& call);
SysResult sys_fadvise64(Call& call);
SysResult sys_fallocate(Call& call);

// calls_futex.cc
SysResult sys_futex(Call& call);

// calls_identity.cc
SysResult sys_getpid(Call& call);
SysResult sys_gettid(Call& call);
SysResult sys_getppid(Call& call);
SysResult sys_getuid(Call& call);
SysResult sys_getgid(Call& call);
SysResult sys_getpgid(Call& call);
SysResult sys_getpgrp(Call& call);
SysResult sys_setpgid(Call& call);
SysResult sys_setsid(Call& call);
SysResult sys_get_three_ids(Call& call);
SysResult sys_set_id(Call& call);
SysResult sys_getgroups(Call& call);
SysResult sys_capget(Call& call);
SysResult sys_umask(Call& call);
SysResult sys_uname(Call& call);
SysResult sys_sysinfo(Call& call);
SysResult sys_getcpu(Call& call);
SysResult sys_getrandom(Call& call);
SysResult sys_prlimit64(Call& call);
SysResult sys_getrlimit(Call& call);
SysResult sys_setrlimit(Call& call);
SysResult sys_prctl(Call& call);
SysResult sys_arch_prctl(Call& call);
SysResult sys_sched_getaffinity(Call& call);
SysResult sys_sched_setaffinity(Call& call);
SysResult sys_sched_getscheduler(Call& call);
SysResult sys_sched_setscheduler(Call& call);
SysResult sys_sched_getparam(Call& call);
SysResult sys_sched_priority(Call& call);
SysResult sys_sched_rr_get_interval(Call& call);
SysResult sys_sched_yield(Call& call);
SysResult sys_getpriority(Call& call);

// calls_io.cc
SysResult sys_read(Call& call);
SysResult sys_write(Call& call);
SysResult sys_pread64(Call& call);
SysResult sys_pwrite64(Call& call);
SysResult sys_readv(Call& call);
SysResult sys_writev(Call& call);
SysResult sys_preadv(Call& call);
SysResult sys_pwritev(Call& call);
SysResult sys_preadv2(Call& call);
SysResult sys_pwritev2(Call& call);
SysResult sys_sendfile(Call& call);
SysResult sys_copy_file_range(Call& call);
SysResult sys_lseek(Call& call);

// calls_memory.cc
SysResult sys_mmap(Call& call);
SysResult sys_munmap(Call& call);
SysResult sys_mprotect(Call& call);
SysResult sys_mremap(Call& call);
SysResult sys_madvise(Call& call);
SysResult sys_brk(Call& call);
SysResult sys_msync(Call& call);
SysResult sys_mincore(Call& call);
SysResult sys_nothing(Call& call);
SysResult sys_membarrier(Call& call);

// calls_poll.cc
SysResult sys_poll(Call& call);
SysResult sys_ppoll(Call& call);
SysResult sys_select(Call& call);
SysResult sys_pselect6(Call& call);
SysResult sys_epoll_create(Call& call);
SysResult sys_epoll_create1(Call& call);
SysResult sys_epoll_ctl(Call& call);
SysResult sys_epoll_wait(Call& call);
SysResult sys_epoll_pwait(Call& call);
SysResult sys_epoll_pwait2(Call& call);

// calls_signals.cc
SysResult sys_rt_sigaction(Call& call);
SysResult sys_rt_sigprocmask(Call& call);
SysResult sys_rt_sigpending(Call& call);
SysResult sys_rt_sigsuspend(Call& call);
SysResult sys_pause(Call& call);
SysResult sys_rt_sigtimedwait(Call& call);
SysResult sys_rt_sigreturn(Call& call);
SysResult sys_sigaltstack(Call& call);
SysResult sys_kill(Call& call);
SysResult sys_tkill(Call& call);
SysResult sys_tgkill(Call& call);
SysResult sys_rt_sigqueueinfo(Call& call);
SysResult sys_rt_tgsigqueueinfo(Call& call);

// calls_stat.cc
SysResult sys_stat(Call& call);
SysResult sys_lstat(Call& call);
SysResult sys_fstat(Call& call);
SysResult sys_newfstatat(Call& call);
SysResult sys_statx(Call& call);
SysResult sys_access(Call& call);
SysResult sys_faccessat(Call& call);
SysResult sys_faccessat2(Call& call);
SysResult sys_readlink(Call& call);
SysResult sys_readlinkat(Call& call);
SysResult sys_getdents64(Call& call);
SysResult sys_statfs(Call& call);
SysResult sys_fstatfs(Call& call);
SysResult sys_getcwd(Call& call);

// calls_streams.cc
SysResult sys_pipe(Call& call);
SysResult sys_pipe2(Call& call);
SysResult sys_socketpair(Call& call);
SysResult sys_socket(Call& call);
SysResult sys_socket_operation(Call& call);
SysResult sys_sendto(Call& call);
SysResult sys_recvfrom(Call& call);
SysResult sys_sendmsg(Call& call);
SysResult sys_recvmsg(Call& call);
SysResult sys_shutdown(Call& call);
SysResult sys_getsockopt(Call& call);
SysResult sys_setsockopt(Call& call);
SysResult sys_getsockname(Call& call);
SysResult sys_eventfd(Call& call);
SysResult sys_eventfd2(Call& call);
SysResult sys_timerfd_create(Call& call);
SysResult sys_timerfd_settime(Call& call);
SysResult sys_timerfd_gettime(Call& call);
SysResult sys_memfd_create(Call& call);

// calls_threads.cc
SysResult sys_clone(Call& call);
SysResult sys_clone3(Call& call);
SysResult sys_fork(Call& call);
SysResult sys_execve(Call& call);
SysResult sys_wait4(Call& call);
SysResult sys_exit(Call& call);
SysResult sys_exit_group(Call& call);
SysResult sys_set_tid_address(Call& call);
SysResult sys_set_robust_list(Call& call);
SysResult sys_get_robust_list(Call& call);

// calls_time.cc
SysResult sys_clock_gettime(Call& call);
SysResult sys_clock_getres(Call& call);
SysResult sys_gettimeofday(Call& call);
SysResult sys_time(Call& call);
SysResult sys_times(Call& call);
SysResult sys_getrusage(Call& call);
SysResult sys_nanosleep(Call& call);
SysResult sys_clock_nanosleep(Call& call);

// calls_timers.cc
SysResult sys_getitimer(Call& call);
SysResult sys_setitimer(Call& call);
SysResult sys_alarm(Call& call);
SysResult sys_timer_create(Call& call);
SysResult sys_timer_settime(Call& call);
SysResult sys_timer_gettime(Call& call);
SysResult sys_timer_getoverrun(Call& call);
SysResult sys_timer_delete(Call& call);

// calls_tree.cc
SysResult sys_open(Call& call);
SysResult sys_openat(Call& call);
SysResult sys_openat2(Call& call);
SysResult sys_creat(Call& call);
SysResult sys_mkdir(Call& call);
SysResult sys_mkdirat(Call& call);
SysResult sys_mknod(Call& call);
SysResult sys_mknodat(Call& call);
SysResult sys_rmdir(Call& call);
SysResult sys_unlink(Call& call);
SysResult sys_unlinkat(Call& call);
SysResult sys_rename(Call& call);
SysResult sys_renameat(Call& call);
SysResult sys_renameat2(Call& call);
SysResult sys_link(Call& call);
SysResult sys_linkat(Call& call);
SysResult sys_symlink(Call& call);
SysResult sys_symlinkat(Call& call);
SysResult sys_chmod(Call& call);
SysResult sys_fchmod(Call& call);
SysResult sys_fchmodat(Call& call);
SysResult sys_chown(Call& call);
SysResult sys_lchown(Call& call);
SysResult sys_fchown(Call& call);
SysResult sys_fchownat(Call& call);
SysResult sys_utimensat(Call& call);
SysResult sys_utimes(Call& call);
SysResult sys_truncate(Call& call);
SysResult sys_ftruncate(Call& call);
SysResult sys_chdir(Call& call);
SysResult sys_fchdir(Call& call);

}  // namespace stasis::linux_guest
