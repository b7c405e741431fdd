// SPDX-License-Identifier: Apache-2.0
// Paths as the management API and the dataplane's contract write them, and back; and the file in
// which those of the API are kept. Pure but for the two file functions.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/paths.h"
#include "omni/control/v1/control.pb.h"
#include "omni/dataplane/v1/dataplane.pb.h"

namespace omni {

// INVALID_ARGUMENT names the field.
absl::StatusOr<PathWishes> CheckPathSettings(const control::v1::PathSettings& settings);
control::v1::PathSettings ToRequest(const PathWishes& wishes);

dataplane::v1::Paths ToProto(const PathWishes& wishes);
// What is not known here counts as not said.
PathWishes FromProto(const dataplane::v1::Paths& paths);

// An absent file says nothing. Any other trouble is an error that names the file.
absl::StatusOr<PathWishes> ReadPathsFile(const std::string& file);
absl::Status WritePathsFile(const std::string& file, const PathWishes& wishes);

}  // namespace omni
