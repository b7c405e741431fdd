// SPDX-License-Identifier: Apache-2.0
// Attaching to an interface and what stays behind: in a network namespace of the test's own, on its
// loopback.
#include "dataplane/kernel/attachment.h"

#include <bpf/libbpf.h>
#include <net/if.h>
#include <sched.h>
#include <sys/utsname.h>

#include <cstdio>
#include <thread>

#include "common/status.h"
#include "dataplane/kernel/host_network.h"
#include "tests/bpf/fixture.h"

namespace omni::bpf_testing {
namespace {

// Whether there is a filter of ours.
bool HasFilter(int interface, uint32_t handle) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = interface;
  hook.attach_point = BPF_TC_INGRESS;
  bpf_tc_opts filter{};
  filter.sz = sizeof(filter);
  filter.handle = handle;
  filter.priority = 519;
  return bpf_tc_query(&hook, &filter) == 0;
}

// A thread may leave its namespace for a new one and takes nobody along.
template <typename Body>
void InNewNamespace(Body body) {
  std::thread([&] {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    body(static_cast<int>(if_nametoindex("lo")));
  }).join();
}

class BpfAttachment : public BpfTest {};

TEST_F(BpfAttachment, AFilterGoesWithItsOwner) {
  InNewNamespace([&](int lo) {
    const int program = object_->program_fd(KernelProgram::kOpenWire);
    {
      const auto filter = Attachment::AttachFilter(program, {.interface = lo, .handle = 51900});
      ASSERT_TRUE(filter.ok()) << Message(filter.status());
      EXPECT_EQ(filter->kind(), Attachment::Kind::kFilter);
      EXPECT_TRUE(HasFilter(lo, 51900));
    }
    EXPECT_FALSE(HasFilter(lo, 51900));
  });
}

// A crash leaves the filter of before; the next start on the same port takes its place.
TEST_F(BpfAttachment, AFilterReplacesTheOneOfBefore) {
  InNewNamespace([&](int lo) {
    const int program = object_->program_fd(KernelProgram::kOpenWire);
    auto crashed = std::make_unique<absl::StatusOr<Attachment>>(
        Attachment::AttachFilter(program, {.interface = lo, .handle = 51900}));
    ASSERT_TRUE(crashed->ok());
    const auto other = Attachment::AttachFilter(program, {.interface = lo, .handle = 51901});
    const auto again = Attachment::AttachFilter(program, {.interface = lo, .handle = 51900});
    EXPECT_TRUE(other.ok());
    EXPECT_TRUE(again.ok()) << Message(again.status());
    EXPECT_TRUE(HasFilter(lo, 51900));
    EXPECT_TRUE(HasFilter(lo, 51901));
  });
}

// From Linux 6.6 on nothing is left behind, and no qdisc is made.
TEST_F(BpfAttachment, ALinkIsPreferredWhereTheKernelHasIt) {
  utsname name{};
  uname(&name);
  int major = 0;
  int minor = 0;
  ASSERT_EQ(std::sscanf(name.release, "%d.%d", &major, &minor), 2);
  const bool has_links = major > 6 || (major == 6 && minor >= 6);
  InNewNamespace([&](int lo) {
    for (const auto hook : {Attachment::Hook::kIngress, Attachment::Hook::kEgress}) {
      const auto attachment = Attachment::Attach(object_->program_fd(KernelProgram::kOpenWire),
                                                 {.interface = lo, .hook = hook, .handle = 51900});
      ASSERT_TRUE(attachment.ok()) << Message(attachment.status());
      EXPECT_EQ(attachment->kind(),
                has_links ? Attachment::Kind::kLink : Attachment::Kind::kFilter);
      EXPECT_EQ(HasFilter(lo, 51900), !has_links && hook == Attachment::Hook::kIngress);
    }
  });
}

TEST_F(BpfAttachment, AnInterfaceThatIsNotThereIsAnError) {
  InNewNamespace([&](int) {
    const auto attachment = Attachment::Attach(object_->program_fd(KernelProgram::kOpenWire),
                                               {.interface = 4711, .handle = 51900});
    EXPECT_FALSE(attachment.ok());
    EXPECT_NE(Message(attachment.status()).find("interface 4711"), std::string_view::npos);
  });
}

TEST(BpfUnderlay, AMachineWithLoopbackAloneHasNoWayOut) {
  InNewNamespace([](int) {
    const auto underlay = HostNetwork::Open();
    ASSERT_TRUE(underlay.ok());
    EXPECT_TRUE((*underlay)->Interfaces().empty());
    EXPECT_FALSE((*underlay)->Resolve({.remote = *Endpoint::Parse("192.0.2.1:1")}));
    EXPECT_FALSE((*underlay)->Resolve({.remote = *Endpoint::Parse("127.0.0.1:1")}));
    EXPECT_FALSE((*underlay)->TakeChange());
  });
}

}  // namespace
}  // namespace omni::bpf_testing
