// A device served by libvfio-user, the protocol's reference implementation, for vfio/tests/libvfio_user.rs:
//
//     cc -I/usr/local/include/vfio-user -o server vfio/tests/libvfio_user/server.c -lvfio-user
//     LIBVFIO_USER_SERVER=$PWD/server cargo test -p barewire-vfio --test libvfio_user
//
// server SOCKET [ro]
//
// BAR 0, by messages:
//   0x00  8 bytes: an address
//   0x08  written: reads 16 bytes at that address and writes them, inverted, 16 bytes further; by messages, never by the shared descriptor
//   0x10  how often that worked
//   0x14  how often it did not
//   0x18  written: raises this vector, unless its entry of the MSI-X table at 0x8000 masks it, as all do at first and after a reset
// It takes 16 mappings, as QEMU's.
// BAR 2: 0x4000 bytes in a memfd, of which 0x1000 to 0x3000 may be mapped. With "ro" its descriptor is for reading alone.
#define _GNU_SOURCE
#include <alloca.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <libvfio-user.h>

enum { ADDRESS = 0x00, COPY = 0x08, WORKED = 0x10, FAILED = 0x14, FIRE = 0x18, TABLE = 0x8000, VECTORS = 4 };

static unsigned char bar0[0x10000];
static unsigned char bar2[0x4000];

static uint32_t *word(size_t at) { return (uint32_t *)(bar0 + at); }

static uint32_t *vector_control(uint32_t vector) { return word(TABLE + 16 * vector + 12); }

static void mask_all(void)
{
    for (uint32_t vector = 0; vector < VECTORS; vector++)
        *vector_control(vector) = 1;
}

static void print(vfu_ctx_t *ctx, int level, const char *text)
{
    (void)ctx;
    (void)level;
    fprintf(stderr, "libvfio-user: %s\n", text);
}

static bool copy(vfu_ctx_t *ctx)
{
    unsigned char data[16];
    uint64_t at;
    dma_sg_t *sg = alloca(dma_sg_size());
    memcpy(&at, bar0 + ADDRESS, sizeof at);
    if (vfu_addr_to_sgl(ctx, (vfu_dma_addr_t)(uintptr_t)at, sizeof data, sg, 1, PROT_READ) != 1 || vfu_sgl_read(ctx, sg, 1, data, 0) != 0)
        return false;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = ~data[i];
    at += sizeof data;
    return vfu_addr_to_sgl(ctx, (vfu_dma_addr_t)(uintptr_t)at, sizeof data, sg, 1, PROT_WRITE) == 1 && vfu_sgl_write(ctx, sg, 1, data, 0) == 0;
}

static ssize_t access0(vfu_ctx_t *ctx, char *buf, size_t count, loff_t at, bool write)
{
    if (!write) {
        memcpy(buf, bar0 + at, count);
        return count;
    }
    memcpy(bar0 + at, buf, count);
    if (at == COPY)
        ++*word(copy(ctx) ? WORKED : FAILED);
    if (at == FIRE && !(*vector_control(*word(FIRE) % VECTORS) & 1))
        vfu_irq_trigger(ctx, *word(FIRE));
    return count;
}

static ssize_t access2(vfu_ctx_t *ctx, char *buf, size_t count, loff_t at, bool write)
{
    (void)ctx;
    if (write)
        memcpy(bar2 + at, buf, count);
    else
        memcpy(buf, bar2 + at, count);
    return count;
}

// That it is there is what makes the library take mappings.
static void mapped(vfu_ctx_t *ctx, vfu_dma_info_t *info)
{
    (void)ctx;
    (void)info;
}

static int reset(vfu_ctx_t *ctx, vfu_reset_type_t type)
{
    (void)ctx;
    (void)type;
    mask_all();
    return 0;
}

static int bar2_file(bool read_only)
{
    int fd = memfd_create("bar 2", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, sizeof bar2) < 0)
        err(1, "memfd");
    if (read_only) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        errx(1, "which socket?");
    vfu_ctx_t *ctx = vfu_create_ctx(VFU_TRANS_SOCK, argv[1], 0, NULL, VFU_DEV_TYPE_PCI);
    if (!ctx)
        err(1, "context");
    vfu_setup_log(ctx, print, 4);
    if (vfu_pci_init(ctx, VFU_PCI_TYPE_CONVENTIONAL, PCI_HEADER_TYPE_NORMAL, 0) < 0)
        err(1, "PCI");
    vfu_pci_set_id(ctx, 0x8086, 0x10fb, 0, 0);
    mask_all();
    // Table and pending bits in BAR 0.
    struct msixcap msix = { .hdr.id = PCI_CAP_ID_MSIX, .mxc.ts = VECTORS - 1, .mtab.to = TABLE >> 3, .mpba.pbao = 0x9000 >> 3 };
    if (vfu_pci_add_capability(ctx, 0, 0, &msix) < 0 || vfu_setup_device_nr_irqs(ctx, VFU_DEV_MSIX_IRQ, VECTORS) < 0)
        err(1, "MSI-X");
    const int flags = VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM;
    struct iovec area = { (void *)0x1000, 0x2000 };
    if (vfu_setup_region(ctx, 0, sizeof bar0, access0, flags, NULL, 0, -1, 0) < 0 ||
        vfu_setup_region(ctx, 2, sizeof bar2, access2, flags, &area, 1, bar2_file(argc > 2), 0) < 0)
        err(1, "BARs");
    if (vfu_setup_device_dma(ctx, 16, mapped, mapped) < 0 || vfu_setup_device_reset_cb(ctx, reset) < 0 || vfu_realize_ctx(ctx) < 0)
        err(1, "device");
    for (;;) {
        if (vfu_attach_ctx(ctx) < 0)
            err(1, "attach");
        if (vfu_run_ctx(ctx) < 0 && errno != ENOTCONN)
            err(1, "run");
    }
}
