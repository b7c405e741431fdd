// SPDX-License-Identifier: Apache-2.0
#include "nucleus/registry/store.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <iterator>
#include <optional>

#include "absl/cleanup/cleanup.h"
#include "common/encoding.h"
#include "common/status.h"

namespace omni {
namespace {

// Each step is done once, in order; user_version counts them.
constexpr const char* kSchemaSteps[] = {R"(
CREATE TABLE clusters(
  cluster BLOB PRIMARY KEY, registry INTEGER NOT NULL, revision INTEGER NOT NULL,
  floor INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE nodes(
  cluster BLOB NOT NULL, node BLOB NOT NULL, record BLOB NOT NULL, signature BLOB NOT NULL,
  revision INTEGER NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY(cluster, node)) WITHOUT ROWID;
PRAGMA user_version = 1;
)",
                                        R"(
CREATE TABLE leases(
  cluster BLOB NOT NULL, address BLOB NOT NULL, node BLOB NOT NULL,
  PRIMARY KEY(cluster, address)) WITHOUT ROWID;
PRAGMA user_version = 2;
)",
                                        R"(
CREATE TABLE revocations(
  cluster BLOB NOT NULL, node BLOB NOT NULL, signer BLOB NOT NULL, statement BLOB NOT NULL,
  signature BLOB NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY(cluster, node, signer)) WITHOUT ROWID;
PRAGMA user_version = 3;
)"};
constexpr int kSchemaVersion = std::size(kSchemaSteps);

// Binds from 1 on, in the order of the arguments. Blobs must outlive the step.
class Binder {
 public:
  explicit Binder(sqlite3_stmt* statement) : statement_(statement) {
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
  }
  Binder& Blob(std::string_view bytes) {
    sqlite3_bind_blob(statement_, ++at_, bytes.empty() ? "" : bytes.data(),
                      static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
    return *this;
  }
  Binder& Integer(uint64_t value) {
    sqlite3_bind_int64(statement_, ++at_, static_cast<sqlite3_int64>(value));
    return *this;
  }

 private:
  sqlite3_stmt* statement_;
  int at_ = 0;
};

std::string BlobAt(sqlite3_stmt* statement, int column) {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement, column));
  const auto size = static_cast<size_t>(sqlite3_column_bytes(statement, column));
  return bytes == nullptr ? std::string() : std::string(bytes, size);
}

uint64_t IntegerAt(sqlite3_stmt* statement, int column) {
  return static_cast<uint64_t>(sqlite3_column_int64(statement, column));
}

}  // namespace

void Store::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Store::~Store() {
  save_head_.reset();
  save_node_.reset();
  save_seen_.reset();
  erase_.reset();
  save_lease_.reset();
  erase_lease_.reset();
  save_revocation_.reset();
  erase_revocation_.reset();
  sqlite3_close(database_);
}

absl::Status Store::Error(std::string_view operation) const {
  return absl::InternalError(fmt::format("{} {}: {}", operation, file_, sqlite3_errmsg(database_)));
}

absl::Status Store::Execute(const char* sql) {
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return absl::OkStatus();
  return Error("write");
}

absl::StatusOr<Store::Statement> Store::Prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_, sql, -1, &statement, nullptr) != SQLITE_OK) {
    return Error("read");
  }
  return Statement(statement);
}

absl::Status Store::Run(sqlite3_stmt* statement) {
  const int result = sqlite3_step(statement);
  sqlite3_reset(statement);
  return result == SQLITE_DONE ? absl::OkStatus() : Error("write");
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::string& file) {
  sqlite3* database = nullptr;
  const int opened =
      sqlite3_open_v2(file.c_str(), &database,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW, nullptr);
  std::unique_ptr<Store> store(new Store(database));
  store->file_ = file;
  if (opened != SQLITE_OK) return store->Error("open");
  // Exclusive: of two processes on one file, the second one must not get as far as to serve.
  absl::Status status = store->Execute(
      "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
      "BEGIN IMMEDIATE; COMMIT;");
  if (!status.ok()) {
    return Annotate(status, "is another omni-nucleus running on it, or is it no database?");
  }
  RETURN_IF_ERROR(store->Migrate());
  RETURN_IF_ERROR(store->PrepareAll());
  return store;
}

// All of it, or nothing.
absl::Status Store::InTransaction(const std::function<absl::Status()>& work) {
  RETURN_IF_ERROR(Execute("BEGIN"));
  absl::Cleanup rollback = [this] { (void)Execute("ROLLBACK"); };
  RETURN_IF_ERROR(work());
  RETURN_IF_ERROR(Execute("COMMIT"));
  std::move(rollback).Cancel();
  return absl::OkStatus();
}

absl::Status Store::Migrate() {
  ASSIGN_OR_RETURN(Statement version, Prepare("PRAGMA user_version"));
  sqlite3_step(version.get());
  const int found = sqlite3_column_int(version.get(), 0);
  version.reset();
  if (found < 0 || found > kSchemaVersion) {
    return absl::FailedPreconditionError(fmt::format(
        "open {}: it was written by a newer omni-nucleus (schema {}, this one knows {})", file_,
        found, kSchemaVersion));
  }
  for (int step = found; step < kSchemaVersion; ++step) {
    RETURN_IF_ERROR(InTransaction([&] { return Execute(kSchemaSteps[step]); }));
  }
  return absl::OkStatus();
}

absl::Status Store::PrepareAll() {
  ASSIGN_OR_RETURN(save_head_, Prepare("INSERT OR REPLACE INTO clusters VALUES(?, ?, ?, ?)"));
  ASSIGN_OR_RETURN(save_node_, Prepare("INSERT OR REPLACE INTO nodes VALUES(?, ?, ?, ?, ?, ?)"));
  ASSIGN_OR_RETURN(save_seen_, Prepare("UPDATE nodes SET seen = ? WHERE cluster = ? AND node = ?"));
  ASSIGN_OR_RETURN(erase_, Prepare("DELETE FROM nodes WHERE cluster = ? AND node = ?"));
  ASSIGN_OR_RETURN(save_lease_, Prepare("INSERT OR REPLACE INTO leases VALUES(?, ?, ?)"));
  ASSIGN_OR_RETURN(erase_lease_, Prepare("DELETE FROM leases WHERE cluster = ? AND address = ?"));
  ASSIGN_OR_RETURN(save_revocation_,
                   Prepare("INSERT OR REPLACE INTO revocations VALUES(?, ?, ?, ?, ?, ?)"));
  ASSIGN_OR_RETURN(
      erase_revocation_,
      Prepare("DELETE FROM revocations WHERE cluster = ? AND node = ? AND signer = ?"));
  return absl::OkStatus();
}

absl::StatusOr<StoredCluster> Store::Load(const ClusterId& cluster) {
  StoredCluster out;
  ASSIGN_OR_RETURN(Statement head,
                   Prepare("SELECT registry, revision, floor FROM clusters WHERE cluster = ?"));
  Binder(head.get()).Blob(cluster.ToBytes());
  if (sqlite3_step(head.get()) == SQLITE_ROW) {
    out.registry = IntegerAt(head.get(), 0);
    out.revision = IntegerAt(head.get(), 1);
    out.floor = IntegerAt(head.get(), 2);
  }
  ASSIGN_OR_RETURN(Statement nodes, Prepare("SELECT node, record, signature, revision, seen FROM "
                                            "nodes WHERE cluster = ? ORDER BY revision"));
  Binder(nodes.get()).Blob(cluster.ToBytes());
  int result = sqlite3_step(nodes.get());
  for (; result == SQLITE_ROW; result = sqlite3_step(nodes.get())) {
    StoredNode node;
    const auto id = NodeId::FromBytes(BlobAt(nodes.get(), 0));
    if (!id) continue;  // not written by us
    node.id = *id;
    node.record.set_record(BlobAt(nodes.get(), 1));
    node.record.set_signature(BlobAt(nodes.get(), 2));
    node.revision = IntegerAt(nodes.get(), 3);
    node.seen = static_cast<int64_t>(IntegerAt(nodes.get(), 4));
    out.nodes.push_back(std::move(node));
  }
  if (result != SQLITE_DONE) return Error("read");
  RETURN_IF_ERROR(LoadLeases(cluster, out));
  RETURN_IF_ERROR(LoadRevocations(cluster, out));
  return out;
}

absl::Status Store::LoadLeases(const ClusterId& cluster, StoredCluster& out) {
  ASSIGN_OR_RETURN(Statement leases, Prepare("SELECT address, node FROM leases WHERE cluster = ?"));
  Binder(leases.get()).Blob(cluster.ToBytes());
  int result = sqlite3_step(leases.get());
  for (; result == SQLITE_ROW; result = sqlite3_step(leases.get())) {
    const auto address = IpAddress::FromBytes(AsBytes(BlobAt(leases.get(), 0)));
    const auto node = NodeId::FromBytes(BlobAt(leases.get(), 1));
    if (address && node) out.leases.push_back({*address, *node});
  }
  return result == SQLITE_DONE ? absl::OkStatus() : Error("read");
}

absl::Status Store::LoadRevocations(const ClusterId& cluster, StoredCluster& out) {
  ASSIGN_OR_RETURN(Statement revocations,
                   Prepare("SELECT node, signer, statement, signature, revision FROM revocations "
                           "WHERE cluster = ? ORDER BY revision"));
  Binder(revocations.get()).Blob(cluster.ToBytes());
  int result = sqlite3_step(revocations.get());
  for (; result == SQLITE_ROW; result = sqlite3_step(revocations.get())) {
    StoredRevocation revocation;
    const auto node = NodeId::FromBytes(BlobAt(revocations.get(), 0));
    const auto signer = NodeId::FromBytes(BlobAt(revocations.get(), 1));
    if (!node || !signer) continue;  // not written by us
    revocation.node = *node;
    revocation.signer = ClusterId{*signer};
    revocation.message.set_revocation(BlobAt(revocations.get(), 2));
    revocation.message.set_signature(BlobAt(revocations.get(), 3));
    revocation.revision = IntegerAt(revocations.get(), 4);
    out.revocations.push_back(std::move(revocation));
  }
  return result == SQLITE_DONE ? absl::OkStatus() : Error("read");
}

absl::Status Store::SaveRevocation(const ClusterId& cluster, const StoredCluster& head,
                                   const StoredRevocation& revocation) {
  return InTransaction([&]() -> absl::Status {
    RETURN_IF_ERROR(RunSaveHead(cluster, head));
    Binder(save_revocation_.get())
        .Blob(cluster.ToBytes())
        .Blob(revocation.node.ToBytes())
        .Blob(revocation.signer.ToBytes())
        .Blob(revocation.message.revocation())
        .Blob(revocation.message.signature())
        .Integer(revocation.revision);
    RETURN_IF_ERROR(Run(save_revocation_.get()));
    return Erase(cluster, revocation.node);
  });
}

absl::Status Store::EraseRevocation(const ClusterId& cluster, const StoredRevocation& revocation) {
  Binder(erase_revocation_.get())
      .Blob(cluster.ToBytes())
      .Blob(revocation.node.ToBytes())
      .Blob(revocation.signer.ToBytes());
  return Run(erase_revocation_.get());
}

absl::Status Store::Rename(const ClusterId& from, const ClusterId& to) {
  return InTransaction([&]() -> absl::Status {
    for (const char* table : {"clusters", "nodes", "leases", "revocations"}) {
      const std::string sql = fmt::format("UPDATE {} SET cluster = ? WHERE cluster = ?", table);
      ASSIGN_OR_RETURN(Statement update, Prepare(sql.c_str()));
      Binder(update.get()).Blob(to.ToBytes()).Blob(from.ToBytes());
      RETURN_IF_ERROR(Run(update.get()));
    }
    return absl::OkStatus();
  });
}

absl::Status Store::SaveLease(const ClusterId& cluster, const StoredLease& lease) {
  Binder(save_lease_.get())
      .Blob(cluster.ToBytes())
      .Blob(AsString(lease.address.raw()))
      .Blob(lease.node.ToBytes());
  return Run(save_lease_.get());
}

absl::Status Store::EraseLease(const ClusterId& cluster, const IpAddress& address) {
  Binder(erase_lease_.get()).Blob(cluster.ToBytes()).Blob(AsString(address.raw()));
  return Run(erase_lease_.get());
}

absl::Status Store::RunSaveHead(const ClusterId& cluster, const StoredCluster& head) {
  Binder(save_head_.get())
      .Blob(cluster.ToBytes())
      .Integer(head.registry)
      .Integer(head.revision)
      .Integer(head.floor);
  return Run(save_head_.get());
}

absl::Status Store::Save(const ClusterId& cluster, const StoredCluster& head,
                         const StoredNode* node) {
  return InTransaction([&]() -> absl::Status {
    RETURN_IF_ERROR(RunSaveHead(cluster, head));
    if (node != nullptr) {
      Binder(save_node_.get())
          .Blob(cluster.ToBytes())
          .Blob(node->id.ToBytes())
          .Blob(node->record.record())
          .Blob(node->record.signature())
          .Integer(node->revision)
          .Integer(static_cast<uint64_t>(node->seen));
      RETURN_IF_ERROR(Run(save_node_.get()));
    }
    return absl::OkStatus();
  });
}

absl::Status Store::SaveSeen(const ClusterId& cluster, const NodeId& node, int64_t seen) {
  Binder(save_seen_.get())
      .Integer(static_cast<uint64_t>(seen))
      .Blob(cluster.ToBytes())
      .Blob(node.ToBytes());
  return Run(save_seen_.get());
}

absl::Status Store::Erase(const ClusterId& cluster, const NodeId& node) {
  Binder(erase_.get()).Blob(cluster.ToBytes()).Blob(node.ToBytes());
  return Run(erase_.get());
}

}  // namespace omni
