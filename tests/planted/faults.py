"""All planted faults."""

from __future__ import annotations

from .fault import Fault
from .faults_of_amounts import AMOUNTS
from .faults_of_calls import CALLS
from .faults_of_channels import CHANNELS
from .faults_of_connections import CONNECTIONS
from .faults_of_draining import DRAINING
from .faults_of_groups import GROUPS
from .faults_of_handshakes import HANDSHAKES
from .faults_of_health import HEALTH
from .faults_of_inspection import INSPECTION
from .faults_of_logs import LOGS
from .faults_of_looking import LOOKING
from .faults_of_losses import LOSSES
from .faults_of_parting import PARTING
from .faults_of_ports import PORTS
from .faults_of_processes import PROCESSES
from .faults_of_profiles import PROFILES
from .faults_of_remote_children import REMOTE_CHILDREN
from .faults_of_running import RUNNING
from .faults_of_seeds import SEEDS
from .faults_of_sockets import SOCKETS
from .faults_of_starting import STARTING
from .faults_of_statistics import STATISTICS
from .faults_of_stopping import STOPPING
from .faults_of_streams import STREAMS
from .faults_of_supervision import SUPERVISION
from .faults_of_systemd import SYSTEMD
from .faults_of_the_association import ASSOCIATION
from .faults_of_the_command_line import COMMAND_LINE
from .faults_of_the_database import DATABASE
from .faults_of_the_hammer import HAMMER
from .faults_of_the_membership import MEMBERSHIP
from .faults_of_the_watchdog import WATCHDOG
from .faults_of_units import UNITS
from .faults_of_workers import WORKERS

FAULTS: tuple[Fault, ...] = (
    *ASSOCIATION,
    *PARTING,
    *HANDSHAKES,
    *CONNECTIONS,
    *PORTS,
    *SOCKETS,
    *SEEDS,
    *STARTING,
    *CALLS,
    *LOSSES,
    *DRAINING,
    *STREAMS,
    *CHANNELS,
    *MEMBERSHIP,
    *DATABASE,
    *GROUPS,
    *SUPERVISION,
    *PROCESSES,
    *PROFILES,
    *RUNNING,
    *STOPPING,
    *REMOTE_CHILDREN,
    *SYSTEMD,
    *WATCHDOG,
    *WORKERS,
    *INSPECTION,
    *LOGS,
    *LOOKING,
    *AMOUNTS,
    *HAMMER,
    *COMMAND_LINE,
    *UNITS,
    *STATISTICS,
    *HEALTH,
)
