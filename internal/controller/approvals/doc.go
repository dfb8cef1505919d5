// Package approvals judges who stands behind an Approval in a cluster.
//
// For an Approval with a signature that is the signer, by the ConfigMap of allowed signers in its namespace. For one without it is the user
// who created it, on the API server's word: the policy tkgfix-approver (config/admission) refuses any other spec.approver. That word is
// taken only while the policy is in force as it is shipped, and only for Approvals that were made after it: which are judged by what the API
// server itself wrote, their creationTimestamp and the policy's. What an administrator of the cluster can do is not guarded against: to
// weaken the policy and mend it again around a forged Approval, to switch off the admission plugin, or to impersonate somebody.
package approvals
