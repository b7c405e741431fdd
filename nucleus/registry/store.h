// SPDX-License-Identifier: Apache-2.0
// Store: the registry on disk, in one SQLite file (write-ahead log, one process at a time). What it
// returns was on disk in one piece; after a power failure the last moments may be missing, and
// nodes bring them again. Owned by main(); calls block for well under a millisecond. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/identity/cluster.h"
#include "common/ip.h"
#include "common/node_id.h"
#include "omni/signal/v1/signal.pb.h"

struct sqlite3;
struct sqlite3_stmt;

namespace omni {

struct StoredNode {
  NodeId id;
  signal::v1::SignedRecord record;  // empty for one that was forgotten
  uint64_t revision = 0;
  int64_t seen = 0;  // when the node was last heard of, seconds since 1970

  bool is_forgotten() const { return record.record().empty(); }
};

struct StoredLease {
  IpAddress address;
  NodeId node;
};

struct StoredRevocation {
  NodeId node;
  ClusterId signer;  // under whose secret it was made
  signal::v1::SignedRevocation message;
  uint64_t revision = 0;
};

// The whole of a cluster.
struct StoredCluster {
  uint64_t registry = 0;  // 0: never stored
  uint64_t revision = 0;  // the highest one ever given out
  uint64_t floor = 0;     // changes up to this one are no longer all known
  std::vector<StoredNode> nodes;
  std::vector<StoredLease> leases;
  std::vector<StoredRevocation> revocations;
};

class Store {
 public:
  // Makes the file when there is none. The error names the file and says what to do.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& file);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  absl::StatusOr<StoredCluster> Load(const ClusterId& cluster);
  // All of one cluster is another's from now on, which has nothing yet.
  absl::Status Rename(const ClusterId& from, const ClusterId& to);
  // Writes a cluster's head, and a node unless it is nullptr, in one transaction.
  absl::Status Save(const ClusterId& cluster, const StoredCluster& head, const StoredNode* node);
  // Writes the head and the revocation, and removes the node, in one transaction.
  absl::Status SaveRevocation(const ClusterId& cluster, const StoredCluster& head,
                              const StoredRevocation& revocation);
  absl::Status EraseRevocation(const ClusterId& cluster, const StoredRevocation& revocation);
  absl::Status SaveSeen(const ClusterId& cluster, const NodeId& node, int64_t seen);
  // Removes the trace of a node altogether.
  absl::Status Erase(const ClusterId& cluster, const NodeId& node);
  absl::Status SaveLease(const ClusterId& cluster, const StoredLease& lease);
  absl::Status EraseLease(const ClusterId& cluster, const IpAddress& address);

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

  explicit Store(sqlite3* database) : database_(database) {}
  absl::Status Execute(const char* sql);
  absl::Status InTransaction(const std::function<absl::Status()>& work);
  absl::Status Migrate();
  absl::Status PrepareAll();
  absl::Status LoadLeases(const ClusterId& cluster, StoredCluster& out);
  absl::Status LoadRevocations(const ClusterId& cluster, StoredCluster& out);
  absl::Status RunSaveHead(const ClusterId& cluster, const StoredCluster& head);
  absl::StatusOr<Statement> Prepare(const char* sql);
  absl::Status Run(sqlite3_stmt* statement);
  absl::Status Error(std::string_view operation) const;

  sqlite3* database_;
  std::string file_;
  Statement save_head_;
  Statement save_node_;
  Statement save_seen_;
  Statement erase_;
  Statement save_lease_;
  Statement erase_lease_;
  Statement save_revocation_;
  Statement erase_revocation_;
};

}  // namespace omni
