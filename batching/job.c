/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs: see job.h. The struct and its array of samples are one block: one allocation per request.
 * Cancelling stands in scheduler.c, beside the lock it needs.
 */
#include "batching/job.h"

#include "base/memory.h"

struct enso_job *enso_job_create(uint32_t n_samples)
{
    size_t array, total;
    struct enso_job *job;

    if (!enso_size_mul(n_samples, sizeof job->samples[0], &array) ||
        !enso_size_add(array, sizeof *job, &total))
        return NULL;
    job = enso_alloc_zero(1, total);
    if (job == NULL)
        return NULL;
    job->samples = (struct enso_sample **)(void *)(job + 1);
    job->n_samples = n_samples;
    job->failed_sample = n_samples;
    job->priority = ENSO_PRIORITY_DEFAULT;
    return job;
}

void enso_job_destroy(struct enso_job *job)
{
    uint32_t i;

    if (job == NULL)
        return;
    for (i = 0; i < job->n_samples; i++)
        enso_sample_destroy(job->samples[i]);
    enso_free(job);
}
