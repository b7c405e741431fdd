// SPDX-License-Identifier: Apache-2.0
// What nodes tell each other, as the API shows it.
#include "controller/api/views.h"

namespace omni {
namespace {

namespace api = control::v1;

std::string NameOf(const Controller& controller, const NodeId& id) {
  const Peer* peer = controller.peers().Find(id);
  if (peer != nullptr) return peer->spec.name;
  const auto learned = controller.learned().find(id);
  return learned == controller.learned().end() ? "" : learned->second.record.name;
}

}  // namespace

void FillMesh(const Controller& controller, api::Mesh& out) {
  const auto view = controller.mesh_view();
  if (!view) return;
  out.set_beacons(view->beacons_wanted);
  out.set_beacons_sent(view->beacons.sent);
  out.set_beacons_heard(view->beacons.heard);
  out.set_beacons_replayed(view->beacons.replayed);
  out.set_beacons_refused(view->beacons.malformed + view->beacons.foreign);
  out.set_record_sequence(view->record_sequence);
  out.set_quic_handshakes(view->signaling.handshakes);
  out.set_messages_refused(view->signaling.refused);
  for (const Beacons::Neighbour& neighbour : view->neighbours) {
    api::Mesh::Neighbour& added = *out.add_neighbours();
    added.set_node_id(neighbour.id.ToString());
    added.set_name(NameOf(controller, neighbour.id));
    added.set_endpoint(neighbour.at.ToString());
    *added.mutable_heard_ago() = ToProto(controller.now() - neighbour.heard);
    added.set_record_sequence(neighbour.sequence);
  }
  for (const PeerSignalingView::Connection& connection : view->signaling.connections) {
    api::Mesh::Connection& added = *out.add_connections();
    added.set_id(connection.id);
    added.set_node_id(connection.peer.ToString());
    added.set_name(NameOf(controller, connection.peer));
    added.set_endpoint(connection.at.ToString());
    added.set_accepted(connection.accepted);
    added.set_moves(connection.moves);
    *added.mutable_age() = ToProto(connection.age);
  }
}

}  // namespace omni
