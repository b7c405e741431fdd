// SPDX-License-Identifier: Apache-2.0
#include "nucleus/registry/store.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <optional>

#include "absl/cleanup/cleanup.h"
#include "common/encoding.h"
#include "common/status.h"

namespace omni {
namespace {

constexpr int kSchemaVersion = 1;
constexpr char kSchema[] = R"(
CREATE TABLE clusters(
  cluster BLOB PRIMARY KEY, registry INTEGER NOT NULL, revision INTEGER NOT NULL,
  floor INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE nodes(
  cluster BLOB NOT NULL, node BLOB NOT NULL, record BLOB NOT NULL, signature BLOB NOT NULL,
  revision INTEGER NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY(cluster, node)) WITHOUT ROWID;
PRAGMA user_version = 1;
)";

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
  ASSIGN_OR_RETURN(Statement version, store->Prepare("PRAGMA user_version"));
  sqlite3_step(version.get());
  const int found = sqlite3_column_int(version.get(), 0);
  version.reset();
  if (found == 0) RETURN_IF_ERROR(store->Execute(kSchema));
  if (found > kSchemaVersion) {
    return absl::FailedPreconditionError(fmt::format(
        "open {}: it was written by a newer omni-nucleus (schema {}, this one knows {})", file,
        found, kSchemaVersion));
  }
  ASSIGN_OR_RETURN(store->save_head_,
                   store->Prepare("INSERT OR REPLACE INTO clusters VALUES(?, ?, ?, ?)"));
  ASSIGN_OR_RETURN(store->save_node_,
                   store->Prepare("INSERT OR REPLACE INTO nodes VALUES(?, ?, ?, ?, ?, ?)"));
  ASSIGN_OR_RETURN(store->save_seen_,
                   store->Prepare("UPDATE nodes SET seen = ? WHERE cluster = ? AND node = ?"));
  ASSIGN_OR_RETURN(store->erase_,
                   store->Prepare("DELETE FROM nodes WHERE cluster = ? AND node = ?"));
  return store;
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
  return out;
}

absl::Status Store::Save(const ClusterId& cluster, const StoredCluster& head,
                         const StoredNode* node) {
  RETURN_IF_ERROR(Execute("BEGIN"));
  absl::Cleanup rollback = [this] { (void)Execute("ROLLBACK"); };
  Binder(save_head_.get())
      .Blob(cluster.ToBytes())
      .Integer(head.registry)
      .Integer(head.revision)
      .Integer(head.floor);
  RETURN_IF_ERROR(Run(save_head_.get()));
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
  RETURN_IF_ERROR(Execute("COMMIT"));
  std::move(rollback).Cancel();
  return absl::OkStatus();
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
